//! The part that the decoders which this crate adds to symphonia's have in common: the output buffer, and symphonia's
//! interface. Below `codecs/` and `quirks/`, which both have such decoders.

use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, FinalizeResult};
use symphonia::core::errors::Result;
use symphonia::core::packet::PacketRef;

/// The decoding of one packet after another.
pub(super) trait PacketDecoder: Send + Sync {
    /// The name of the codec.
    const INFO: &'static CodecInfo;

    /// Forgets the packets before.
    fn reset(&mut self);

    /// Decodes `packet` into `planes`, which are empty, and applies its trims.
    fn decode(&mut self, packet: &PacketRef<'_>, planes: &mut Planes) -> Result<()>;
}

/// A decoder for symphonia that keeps the decoded samples in planes.
pub(super) struct PlanarDecoder<D> {
    decoder: D,
    parameters: AudioCodecParameters,
    planes: Planes,
}

impl<D: PacketDecoder> PlanarDecoder<D> {
    /// A decoder for packets of up to `longest` samples per channel. The rate and the number of channels replace those
    /// of `parameters`.
    pub(super) fn new(decoder: D, parameters: &AudioCodecParameters, rate: u32, channels: u16, longest: usize) -> Self {
        let channels = Channels::Discrete(channels);
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(rate).with_channels(channels.clone());
        let planes = Planes { buffer: AudioBuffer::new(AudioSpec::new(rate, channels), longest) };
        PlanarDecoder { decoder, parameters, planes }
    }
}

impl<D: PacketDecoder> AudioDecoder for PlanarDecoder<D> {
    fn reset(&mut self) {
        self.decoder.reset();
        self.planes.buffer.clear();
    }

    fn codec_info(&self) -> &CodecInfo {
        D::INFO
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.planes.buffer.clear();
        self.decoder.decode(packet, &mut self.planes)?;
        Ok(self.last_decoded())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.planes.buffer.as_generic_audio_buffer_ref()
    }
}

/// The decoded samples of one packet, a plane for each channel.
pub(super) struct Planes {
    buffer: AudioBuffer<f32>,
}

impl Planes {
    /// Adds `length` samples per channel to empty planes.
    pub(super) fn fill<S: Iterator<Item = f32>>(&mut self, length: usize, channels: impl Iterator<Item = S>) {
        self.buffer.render_uninit(Some(length));
        for (channel, samples) in channels.enumerate() {
            if let Some(plane) = self.buffer.plane_mut(channel) {
                plane.iter_mut().zip(samples).for_each(|(to, from)| *to = from);
            }
        }
    }

    /// Applies the trims of `packet`, which decoded to `length` samples per channel.
    pub(super) fn trim(&mut self, packet: &PacketRef<'_>, length: usize) {
        let trim = |duration: u64| usize::try_from(duration).unwrap_or(usize::MAX).min(length);
        self.buffer.trim(trim(packet.trim_start.get()), trim(packet.trim_end.get()));
    }
}
