//! The codec of a bundle for all channels of its audio: EnCodec, which is mono, once for each.

use mert_encodec::Encodec;

use crate::bundle::Bundle;
use crate::lm::Codes;
use crate::{MusicgenError, Result};

/// A mono codec, used for each channel alone.
///
/// The codebooks of the channels alternate: number 0 of left, number 0 of right, number 1 of left, …, as audiocraft's
/// `InterleaveStereoCompressionModel` and transformers' `generate` have them.
pub struct ChannelCodec {
    codec: Encodec,
    channels: usize,
    /// The codebooks of a channel.
    codebooks: usize,
}

impl ChannelCodec {
    /// Opens the codec of a bundle.
    ///
    /// # Errors
    /// Those of [`Bundle::codec`].
    pub fn open(bundle: &Bundle) -> Result<Self> {
        let config = bundle.config();
        let (channels, codebooks) = (config.model.decoder.audio_channels, config.codebooks_of_a_channel());
        Ok(ChannelCodec { codec: bundle.codec()?, channels, codebooks })
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The codes of samples at the model's rate, channel by channel.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] for another number of channels or codebooks, and those of [`Encodec::encode`].
    pub fn encode(&self, channels: &[Vec<f32>]) -> Result<Codes> {
        if channels.len() != self.channels {
            let (found, expected) = (channels.len(), self.channels);
            return Err(MusicgenError::Request(format!("{found} channels of audio, expected {expected}")));
        }
        let of_channels: Vec<Vec<Vec<u32>>> =
            channels.iter().map(|samples| Ok(self.codec.encode(samples)?)).collect::<Result<_>>()?;
        let count = self.codebooks;
        if of_channels.iter().any(|codes| codes.len() < count) {
            let found = of_channels.first().map_or(0, Vec::len);
            let message = format!("the codec has {found} codebooks, expected {count} for each channel");
            return Err(MusicgenError::Request(message));
        }
        let rows = (0..count).flat_map(|k| of_channels.iter().map(move |codes| codes[k].clone())).collect();
        Codes::new(rows).ok_or_else(|| MusicgenError::Request("channels of different lengths".into()))
    }

    /// The samples of codes, channel by channel.
    ///
    /// # Errors
    /// Those of [`Encodec::decode`].
    pub fn decode(&self, codes: &Codes) -> Result<Vec<Vec<f32>>> {
        (0..self.channels).map(|channel| Ok(self.codec.decode(codes.channel(channel, self.channels).rows())?)).collect()
    }
}
