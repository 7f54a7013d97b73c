//! The parts of a model whose names depend on its architecture.

use super::torchaudio;
use crate::{Config, FeatureExtractorNorm, PositionalConv};

/// The modules of the positional convolution, which have different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PositionalNames {
    /// One convolution under weight norm, or fused.
    #[default]
    WeightNorm,
    /// A BatchNorm and a convolution (`conv_pos_batch_norm`).
    BatchNorm,
    /// Several convolutions (data2vec).
    Stack,
}

/// The parts of a model whose names depend on its architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variant {
    /// The norms of the feature extractor.
    pub norm: FeatureExtractorNorm,
    /// The modules of the positional convolution.
    pub positional: PositionalNames,
    /// Whether the attention has a relative position bias (WavLM).
    pub position_bias: bool,
}

impl Variant {
    /// The variant of a configuration.
    pub fn of_config(config: &Config) -> Self {
        let positional = match config.positional_conv() {
            PositionalConv::WeightNorm { .. } => PositionalNames::WeightNorm,
            PositionalConv::BatchNorm { .. } => PositionalNames::BatchNorm,
            PositionalConv::Stack { .. } => PositionalNames::Stack,
        };
        Variant { norm: config.feat_extract_norm, positional, position_bias: config.position_bias().is_some() }
    }

    /// The variant that the names of fairseq, the original WavLM or torchaudio show, without the model's prefix.
    pub fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut variant = Variant::default();
        for name in names {
            if name.starts_with("feature_extractor.conv_layers.") && name.contains(".2.1.") {
                variant.norm = FeatureExtractorNorm::Layer;
            }
            if let Some(rest) = name.strip_prefix("encoder.pos_conv.") {
                if rest == "0.running_mean" {
                    variant.positional = PositionalNames::BatchNorm;
                } else if rest.starts_with("0.0.") {
                    variant.positional = PositionalNames::Stack;
                }
            }
            variant.position_bias |= torchaudio::is_multihead_attention(name);
        }
        variant
    }
}
