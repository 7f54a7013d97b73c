//! A decoder for Vorbis with more than two channels. symphonia-codec-vorbis 0.6.1 undoes channel coupling [from the
//! first pair to the
//! last](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-codec-vorbis/src/lib.rs#L250-L252) instead of
//! backwards (Vorbis I, 4.3.5), and returns wrong samples without an error. Mono and stereo have at most one pair.
//! [lewton](https://github.com/RustAudio/lewton) decodes the others.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

use super::vorbis_codebooks;
use crate::AudioError;
use crate::decode::planes::{PacketDecoder, PlanarDecoder, Planes};

/// The longest packet in samples per channel.
const LONGEST: usize = 8192;

/// The length of the identification header, which the setup header follows in `extra_data`.
const IDENTIFICATION: usize = 30;

/// A Vorbis decoder for any number of channels.
pub(in crate::decode) struct Vorbis {
    identification: IdentHeader,
    setup: SetupHeader,
    /// The right half of the previous window, which the next packet overlaps.
    previous: PreviousWindowRight,
}

impl Vorbis {
    /// A decoder for the headers in the `extra_data` of `parameters`.
    pub(in crate::decode) fn decoder(parameters: &AudioCodecParameters) -> crate::Result<PlanarDecoder<Self>> {
        let headers = parameters.extra_data.as_deref().and_then(|data| data.split_at_checked(IDENTIFICATION));
        let (identification, setup) = headers.ok_or_else(damaged_headers)?;
        if !vorbis_codebooks::are_plausible(setup) {
            return Err(damaged_headers());
        }
        let identification = read_header_ident(identification).map_err(|_| damaged_headers())?;
        let blocks = (identification.blocksize_0, identification.blocksize_1);
        let setup = read_header_setup(setup, identification.audio_channels, blocks).map_err(|_| damaged_headers())?;
        let (rate, channels) = (identification.audio_sample_rate, identification.audio_channels.into());
        let decoder = Vorbis { identification, setup, previous: PreviousWindowRight::new() };
        Ok(PlanarDecoder::new(decoder, parameters, rate, channels, LONGEST))
    }
}

fn damaged_headers() -> AudioError {
    AudioError::unknown_codec("Vorbis with damaged headers")
}

impl PacketDecoder for Vorbis {
    const INFO: &'static CodecInfo = &CodecInfo { short_name: "vorbis", long_name: "Vorbis", profiles: &[] };

    fn reset(&mut self) {
        self.previous = PreviousWindowRight::new();
    }

    fn decode(&mut self, packet: &PacketRef<'_>, planes: &mut Planes) -> Result<()> {
        // The first packet has nothing to overlap with and yields no samples.
        let is_first = self.previous.is_empty();
        let channels: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.identification, &self.setup, packet.data, &mut self.previous)
                .map_err(|_| Error::DecodeError("a packet of Vorbis is damaged"))?;
        let length = channels.first().map_or(0, Vec::len).min(LONGEST);
        planes.fill(length, channels.iter().map(|samples| samples.iter().copied()));
        if !is_first {
            planes.trim(packet, length);
        }
        Ok(())
    }
}
