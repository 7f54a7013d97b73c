//! Families and fields that are refused by name, each with the reason.

use serde::Deserialize;

use super::ModelConfig;
use crate::ConfigError;

/// Model types of related encoders that compute something else.
const MODEL_TYPES: [(&str, &str); 4] = [
    ("wav2vec2-conformer", "its layers are Conformers, with convolutions and another attention"),
    ("wav2vec2-bert", "its input are mel spectra, and its layers are Conformers"),
    ("sew", "it pools frames before the layers and upsamples them after"),
    ("sew-d", "it pools frames, and its attention is DeBERTa's"),
];

const SUPPORTED: &str =
    "supported are mert_model, hubert, wav2vec2, unispeech, unispeech-sat, wavlm and data2vec-audio";

/// The family with this `model_type`, with default fields.
pub(crate) fn supported_family(model_type: &str) -> Result<ModelConfig, ConfigError> {
    let reason = || MODEL_TYPES.iter().find(|(name, _)| *name == model_type).map_or(SUPPORTED, |(_, reason)| reason);
    ModelConfig::of_type(model_type)
        .ok_or_else(|| ConfigError::unsupported("model_type", format!("`{model_type}`"), reason()))
}

/// Fields of variants that are not supported, which are read only to refuse them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct UnsupportedFields {
    /// MERT: a constant-Q transform beside the convolutions.
    feature_extractor_cqt: bool,
    /// HuBERT: BatchNorm instead of weight norm in the positional convolution.
    conv_pos_batch_norm: bool,
    /// wav2vec2: adapters inside the layers.
    adapter_attn_dim: Option<usize>,
    /// wav2vec2 and WavLM: convolutions after the encoder.
    add_adapter: bool,
}

/// Refuses a field that asks for an unsupported variant of `family`.
pub(crate) fn refuse_fields(fields: &UnsupportedFields, family: &ModelConfig) -> Result<(), ConfigError> {
    if fields.feature_extractor_cqt {
        return Err(ConfigError::unsupported(
            "feature_extractor_cqt",
            "true",
            "the model adds a constant-Q transform of the audio to its input features, which is a front end of its own and \
             not part of this encoder; use a MERT trained without it (v1-95M, v1-330M, v0)",
        ));
    }
    if fields.conv_pos_batch_norm && !matches!(family, ModelConfig::Hubert(_)) {
        return Err(ConfigError::unsupported(
            "conv_pos_batch_norm",
            "true",
            "the positional convolution has a BatchNorm instead of weight norm only in `hubert`",
        ));
    }
    if fields.adapter_attn_dim.is_some() {
        return Err(ConfigError::unsupported(
            "adapter_attn_dim",
            "set",
            "adapters inside the layers (MMS) change what every layer computes; give the model from before they were added",
        ));
    }
    if fields.add_adapter {
        return Err(ConfigError::unsupported(
            "add_adapter",
            "true",
            "convolutions after the encoder change its last output; to convert the hidden states of the encoder alone, save \
             the model without them in Python: model.adapter = None; model.config.add_adapter = False",
        ));
    }
    Ok(())
}
