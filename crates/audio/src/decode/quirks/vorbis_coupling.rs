//! A decoder for Vorbis with more than two channels. symphonia-codec-vorbis 0.6.1 undoes channel coupling
//! [from the first pair to the last](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-codec-vorbis/src/lib.rs#L250-L252)
//! instead of backwards (Vorbis I, 4.3.5), and returns wrong samples without an error. Mono and stereo have at most one
//! pair. [lewton](https://github.com/RustAudio/lewton) decodes the others.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, FinalizeResult};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

use crate::AudioError;
use crate::decode::planes::Planes;

/// The longest packet in samples per channel.
const LONGEST: usize = 8192;

/// The length of the identification header, which the setup header follows in `extra_data`.
const IDENTIFICATION: usize = 30;

/// A Vorbis decoder for any number of channels.
pub(in crate::decode) struct Vorbis {
    parameters: AudioCodecParameters,
    identification: IdentHeader,
    setup: SetupHeader,
    /// The right half of the previous window, which the next packet overlaps.
    previous: PreviousWindowRight,
    planes: Planes,
}

impl Vorbis {
    /// A decoder for the headers in the `extra_data` of `parameters`.
    pub(in crate::decode) fn new(parameters: &AudioCodecParameters) -> crate::Result<Self> {
        let damaged = || AudioError::unknown_codec("Vorbis with damaged headers");
        let headers = parameters.extra_data.as_deref().and_then(|data| data.split_at_checked(IDENTIFICATION));
        let (identification, setup) = headers.ok_or_else(damaged)?;
        let identification = read_header_ident(identification).map_err(|_| damaged())?;
        let blocks = (identification.blocksize_0, identification.blocksize_1);
        let setup = read_header_setup(setup, identification.audio_channels, blocks).map_err(|_| damaged())?;
        let (rate, channels) = (identification.audio_sample_rate, identification.audio_channels);
        let mut parameters = parameters.clone();
        let planes = Planes::new(&mut parameters, rate, channels.into(), LONGEST);
        Ok(Vorbis { parameters, identification, setup, previous: PreviousWindowRight::new(), planes })
    }
}

impl AudioDecoder for Vorbis {
    fn reset(&mut self) {
        self.previous = PreviousWindowRight::new();
        self.planes.clear();
    }

    fn codec_info(&self) -> &CodecInfo {
        &CodecInfo { short_name: "vorbis", long_name: "Vorbis", profiles: &[] }
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.planes.clear();
        // The first packet has nothing to overlap with and yields no samples.
        let is_first = self.previous.is_empty();
        let channels: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.identification, &self.setup, packet.data, &mut self.previous)
                .map_err(|_| Error::DecodeError("a packet of Vorbis is damaged"))?;
        let length = channels.first().map_or(0, Vec::len).min(LONGEST);
        self.planes.fill(length, channels.iter().map(|samples| samples.iter().copied()));
        if !is_first {
            self.planes.trim(packet, length);
        }
        Ok(self.planes.as_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.planes.as_ref()
    }
}
