//! The decoder for a codec, and the names of codecs that are not supported. Opus, which symphonia lacks, is decoded in
//! `opus.rs`.

mod opus;

use symphonia::core::codecs::audio::well_known::{
    self, CODEC_ID_AAC, CODEC_ID_ADPCM_IMA_QT, CODEC_ID_OPUS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};

use super::quirks::vorbis_coupling::Vorbis;
use crate::{AudioError, Result};

/// The largest number of channels that is decoded. The decoders reserve a packet of samples for each channel, and a damaged
/// header may state any number.
const MOST_CHANNELS: usize = 1024;

/// The largest packet that is decoded, in samples of all channels. It is four times what 1024 channels of PCM have.
const LARGEST_PACKET: u64 = 1 << 22;

/// The decoder for `parameters`, and the number of samples to trim from the start that the codec itself states.
pub(super) fn decoder(parameters: &AudioCodecParameters) -> Result<(Box<dyn AudioDecoder>, u64)> {
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    match parameters.codec {
        CODEC_ID_OPUS => {
            let head = opus::Head::read(parameters.extra_data.as_deref(), channels)?;
            let pre_skip = head.pre_skip.into();
            Ok((Box::new(opus::Opus::decoder(parameters, head)?), pre_skip))
        }
        CODEC_ID_VORBIS if channels > 2 => Ok((Box::new(Vorbis::decoder(parameters)?), 0)),
        CODEC_ID_AAC if channels > 2 => Err(AudioError::unknown_codec(format!("AAC with {channels} channels"))),
        // symphonia-codec-adpcm 0.6.1 takes the predictor from each block's header, which has fewer bits than the
        // running one: https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-codec-adpcm/src/codec_ima_qt.rs#L16
        CODEC_ID_ADPCM_IMA_QT => Err(AudioError::unknown_codec("IMA4 ADPCM")),
        codec => {
            let mut parameters = parameters.clone();
            // Some readers state 8 bits, with which the decoder refuses these codecs: it expands samples to 16.
            if matches!(codec, CODEC_ID_PCM_ALAW | CODEC_ID_PCM_MULAW) {
                parameters.with_bits_per_sample(16).with_bits_per_coded_sample(16);
            }
            make(&parameters).map(|decoder| (decoder, 0))
        }
    }
}

/// A decoder for `parameters` that reads PCM samples as big-endian.
pub(super) fn big_endian(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>> {
    let mut parameters = parameters.clone();
    parameters.codec = match parameters.codec {
        well_known::CODEC_ID_PCM_S24LE => well_known::CODEC_ID_PCM_S24BE,
        well_known::CODEC_ID_PCM_S32LE => well_known::CODEC_ID_PCM_S32BE,
        well_known::CODEC_ID_PCM_F32LE => well_known::CODEC_ID_PCM_F32BE,
        well_known::CODEC_ID_PCM_F64LE => well_known::CODEC_ID_PCM_F64BE,
        codec => codec,
    };
    make(&parameters)
}

/// One of symphonia's decoders, which verifies checksums where the codec has them.
fn make(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>> {
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    if channels > MOST_CHANNELS {
        return Err(AudioError::unknown_codec(format!(
            "{channels} channels (the header is damaged, or mix them first)"
        )));
    }
    let frames = parameters.max_frames_per_packet.unwrap_or(0);
    if frames.saturating_mul(channels as u64) > LARGEST_PACKET {
        return Err(AudioError::unknown_codec(format!("packets of {frames} samples (the header is damaged)")));
    }
    let codecs = symphonia::default::get_codecs();
    let options = AudioDecoderOptions::default().verify(true);
    codecs.make_audio_decoder(parameters, &options).map_err(|_| {
        let known = || codecs.get_audio_decoder(parameters.codec).map(|codec| codec.codec.info.long_name);
        let name = codec_name(parameters.codec).map(ToString::to_string);
        let name = name.or_else(|| known().map(|name| format!("{name} of this kind")));
        AudioError::unknown_codec(name.unwrap_or_else(|| "an unknown codec".to_string()))
    })
}

/// The common name of a codec that is not supported.
fn codec_name(codec: AudioCodecId) -> Option<&'static str> {
    use well_known::*;
    const NAMES: [(AudioCodecId, &str); 14] = [
        (CODEC_ID_AC3, "Dolby Digital (AC-3)"),
        (CODEC_ID_EAC3, "Dolby Digital Plus (E-AC-3)"),
        (CODEC_ID_AC4, "Dolby AC-4"),
        (CODEC_ID_DCA, "DTS"),
        (CODEC_ID_TRUEHD, "Dolby TrueHD"),
        (CODEC_ID_MUSEPACK, "Musepack"),
        (CODEC_ID_SPEEX, "Speex"),
        (CODEC_ID_WMA, "Windows Media Audio"),
        (CODEC_ID_TTA, "True Audio (TTA)"),
        (CODEC_ID_WAVPACK, "WavPack"),
        (CODEC_ID_COOK, "RealAudio (Cook)"),
        (CODEC_ID_ATRAC3, "ATRAC3"),
        (CODEC_ID_ADPCM_G722, "G.722 ADPCM"),
        (CODEC_ID_ADPCM_G726, "G.726 ADPCM"),
    ];
    NAMES.into_iter().find(|&(known, _)| known == codec).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use symphonia::core::audio::Channels;

    use super::*;

    /// symphonia's PCM decoder reserves a packet of the size that the header states.
    #[test]
    fn a_packet_of_millions_of_samples_is_refused() {
        let make = |channels: u16, frames: u64| {
            let mut parameters = AudioCodecParameters::new();
            parameters.for_codec(well_known::CODEC_ID_PCM_S16LE).with_sample_rate(24_000).with_bits_per_sample(16);
            parameters.with_channels(Channels::Discrete(channels)).with_max_frames_per_packet(frames);
            super::make(&parameters).map(drop)
        };
        make(2, 1152).unwrap();
        assert!(make(2, LARGEST_PACKET).unwrap_err().to_string().contains("4194304 samples"));
        assert!(make(1025, 1).unwrap_err().to_string().contains("1025 channels"));
    }
}
