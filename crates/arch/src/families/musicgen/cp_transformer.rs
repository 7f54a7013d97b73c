//! The sizes of Instruct-MusicGen's own part: the section `cp_transformer` of a bundle's `config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::MusicgenDecoder;
use crate::ConfigError;
use crate::config::parse;

/// The sizes of the condition transformer of Instruct-MusicGen, which runs the language model's own layers over the tokens of
/// the input audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpTransformer {
    /// The number of layers: that of the language model.
    pub num_layers: usize,
    /// The rows of the position table: the largest number of frames, and one for the special frame after them.
    pub max_frames: usize,
    /// The width: that of the language model.
    pub hidden_size: usize,
}

/// The fields of `cp_transformer`.
#[derive(Deserialize)]
struct CpFields {
    num_layers: usize,
    max_frames: usize,
    hidden_size: usize,
}

impl CpTransformer {
    pub(super) fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let CpFields { num_layers, max_frames, hidden_size } = parse(value)?;
        Ok(CpTransformer { num_layers, max_frames, hidden_size })
    }

    /// Checks the sizes against the language model, whose layers it runs.
    pub(super) fn check(self, decoder: &MusicgenDecoder) -> Result<(), ConfigError> {
        let sizes = [
            ("cp_transformer.num_layers", self.num_layers, decoder.num_hidden_layers),
            ("cp_transformer.hidden_size", self.hidden_size, decoder.hidden_size),
        ];
        for (field, found, expected) in sizes {
            if found != expected {
                return Err(ConfigError::invalid(field, found, format!("{expected}, as the language model has")));
            }
        }
        if decoder.audio_channels != 1 {
            let reason =
                "Instruct-MusicGen edits mono: its base is a MusicGen with 4 codebooks, not a stereo one with 8";
            return Err(ConfigError::unsupported("decoder.audio_channels", decoder.audio_channels, reason));
        }
        if !(2..=1 << 20).contains(&self.max_frames) {
            let expected = "the largest number of frames and one more, at least 2";
            return Err(ConfigError::invalid("cp_transformer.max_frames", self.max_frames, expected));
        }
        Ok(())
    }
}
