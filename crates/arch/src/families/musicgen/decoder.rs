//! The sizes of the language model: the section `decoder` of a `config.json`.

use serde::Deserialize;
use serde_json::Value;

use crate::ConfigError;
use crate::config::parse;

/// The sizes of the language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MusicgenDecoder {
    /// The number of layers.
    pub num_hidden_layers: usize,
    /// The width D of the hidden states.
    pub hidden_size: usize,
    /// The number of attention heads.
    pub num_attention_heads: usize,
    /// The width of the feed-forward blocks.
    pub ffn_dim: usize,
    /// The number of streams of tokens: 4, or 8 for stereo.
    pub num_codebooks: usize,
    /// The number of codes of a codebook, without the special token.
    pub vocab_size: usize,
    /// The special token that begins a sequence, and that the delay pattern holds where no code is.
    pub bos_token_id: usize,
    /// The padding token: the special token again.
    pub pad_token_id: usize,
    /// The number of channels of the audio: 1, or 2 for stereo, whose codebooks alternate left and right.
    pub audio_channels: usize,
    /// The length of the position table in transformers. The positions are computed, so that it limits nothing.
    pub max_position_embeddings: usize,
}

/// The width of an attention head in every published MusicGen, for checkpoints that do not state the number of heads.
pub const MUSICGEN_HEAD_DIM: usize = 64;

/// The fields of `decoder` that matter, with transformers' defaults.
#[derive(Deserialize)]
#[serde(default)]
struct DecoderFields {
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    ffn_dim: usize,
    num_codebooks: usize,
    vocab_size: usize,
    audio_channels: usize,
    max_position_embeddings: usize,
    bos_token_id: Option<usize>,
    pad_token_id: Option<usize>,
    activation_function: String,
    scale_embedding: bool,
}

impl Default for DecoderFields {
    fn default() -> Self {
        DecoderFields {
            num_hidden_layers: 24,
            hidden_size: 1024,
            num_attention_heads: 16,
            ffn_dim: 4096,
            num_codebooks: 4,
            vocab_size: 2048,
            audio_channels: 1,
            max_position_embeddings: 2048,
            bos_token_id: None,
            pad_token_id: None,
            activation_function: "gelu".into(),
            scale_embedding: false,
        }
    }
}

impl MusicgenDecoder {
    pub(super) fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let fields: DecoderFields = parse(value)?;
        if fields.activation_function != "gelu" {
            let reason = "MusicGen's feed-forward blocks have the exact GELU";
            return Err(ConfigError::unsupported("decoder.activation_function", fields.activation_function, reason));
        }
        if fields.scale_embedding {
            let reason = "MusicGen's embeddings are not scaled";
            return Err(ConfigError::unsupported("decoder.scale_embedding", true, reason));
        }
        Ok(MusicgenDecoder {
            num_hidden_layers: fields.num_hidden_layers,
            hidden_size: fields.hidden_size,
            num_attention_heads: fields.num_attention_heads,
            ffn_dim: fields.ffn_dim,
            num_codebooks: fields.num_codebooks,
            vocab_size: fields.vocab_size,
            bos_token_id: fields.bos_token_id.unwrap_or(fields.vocab_size),
            pad_token_id: fields.pad_token_id.unwrap_or(fields.vocab_size),
            audio_channels: fields.audio_channels,
            max_position_embeddings: fields.max_position_embeddings,
        })
    }
}
