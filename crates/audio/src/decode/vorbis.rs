//! Vorbis with more than two channels, decoded by lewton. symphonia 0.6 undoes channel coupling in the wrong order
//! (Vorbis I, 4.3.5: the last pair first) and returns wrong samples without an error. It decodes mono and stereo.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, FinalizeResult};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

/// The longest packet in samples per channel.
const LONGEST: usize = 8192;

/// The length of the identification header, which the setup header follows in `extra_data`.
const IDENTIFICATION: usize = 30;

/// A Vorbis decoder for any number of channels.
pub(super) struct Vorbis {
    parameters: AudioCodecParameters,
    identification: IdentHeader,
    setup: SetupHeader,
    /// The right half of the previous window, which the next packet overlaps.
    before: PreviousWindowRight,
    buffer: AudioBuffer<f32>,
}

impl Vorbis {
    pub(super) fn new(parameters: &AudioCodecParameters) -> std::result::Result<Self, String> {
        let damaged = || "Vorbis with damaged headers".to_string();
        let headers = parameters.extra_data.as_deref().and_then(|data| data.split_at_checked(IDENTIFICATION));
        let (identification, setup) = headers.ok_or_else(damaged)?;
        let identification = read_header_ident(identification).map_err(|_| damaged())?;
        let blocks = (identification.blocksize_0, identification.blocksize_1);
        let setup = read_header_setup(setup, identification.audio_channels, blocks).map_err(|_| damaged())?;
        let channels = Channels::Discrete(identification.audio_channels.into());
        let rate = identification.audio_sample_rate;
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(rate).with_channels(channels.clone());
        let buffer = AudioBuffer::new(AudioSpec::new(rate, channels), LONGEST);
        Ok(Vorbis { parameters, identification, setup, before: PreviousWindowRight::new(), buffer })
    }
}

impl AudioDecoder for Vorbis {
    fn reset(&mut self) {
        self.before = PreviousWindowRight::new();
        self.buffer.clear();
    }

    fn codec_info(&self) -> &CodecInfo {
        &CodecInfo { short_name: "vorbis", long_name: "Vorbis", profiles: &[] }
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        // The first packet has nothing to overlap with and yields no samples.
        let is_first = self.before.is_empty();
        let planes: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.identification, &self.setup, packet.data, &mut self.before)
                .map_err(|_| Error::DecodeError("a packet of Vorbis is damaged"))?;
        let length = planes.first().map_or(0, Vec::len).min(LONGEST);
        self.buffer.render_uninit(Some(length));
        for (channel, samples) in planes.iter().enumerate() {
            if let Some(plane) = self.buffer.plane_mut(channel) {
                plane.iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
            }
        }
        if !is_first {
            let trim = |duration: u64| usize::try_from(duration).unwrap_or(usize::MAX).min(length);
            self.buffer.trim(trim(packet.trim_start.get()), trim(packet.trim_end.get()));
        }
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}
