//! The output buffer of the decoders that this crate adds to symphonia's.

use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::PacketRef;

/// The decoded samples of one packet, a plane for each channel.
pub(super) struct Planes {
    buffer: AudioBuffer<f32>,
}

impl Planes {
    /// A buffer for packets of up to `longest` samples per channel. The rate and channels are also written to
    /// `parameters`.
    pub(super) fn new(parameters: &mut AudioCodecParameters, rate: u32, channels: u16, longest: usize) -> Self {
        let channels = Channels::Discrete(channels);
        parameters.with_sample_rate(rate).with_channels(channels.clone());
        Planes { buffer: AudioBuffer::new(AudioSpec::new(rate, channels), longest) }
    }

    /// Removes all samples.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Replaces the content by `length` samples per channel.
    pub(super) fn fill<'a, S>(&mut self, length: usize, channels: impl Iterator<Item = S>)
    where
        S: Iterator<Item = f32> + 'a,
    {
        self.buffer.clear();
        self.buffer.render_uninit(Some(length));
        for (channel, samples) in channels.enumerate() {
            if let Some(plane) = self.buffer.plane_mut(channel) {
                plane.iter_mut().zip(samples).for_each(|(to, from)| *to = from);
            }
        }
    }

    /// Trims the start and end as `packet` states, of the `length` samples per channel that it decoded to.
    pub(super) fn trim(&mut self, packet: &PacketRef<'_>, length: usize) {
        let trim = |duration: u64| usize::try_from(duration).unwrap_or(usize::MAX).min(length);
        self.buffer.trim(trim(packet.trim_start.get()), trim(packet.trim_end.get()));
    }

    /// The content as symphonia's decoders return it.
    pub(super) fn as_ref(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}
