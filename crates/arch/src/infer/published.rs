//! The shapes of published models, by which the fields that shapes do not determine are assumed.

use crate::{Config, FeatureExtractorNorm, PositionalConv};

/// The shapes of a published model, and the fields that they do not determine. The convolutions and the positional
/// convolution of every published model are those of its family's default configuration.
pub(super) struct Published {
    /// The mechanisms that the tensors show; families without any of their own share the shapes.
    mechanism: Mechanism,
    hidden_size: usize,
    num_hidden_layers: usize,
    intermediate_size: usize,
    /// Whether the feature extractor normalises after every convolution.
    norm_after_every_conv: bool,
    conv_bias: bool,
    feat_proj_layer_norm: bool,
    pub(super) num_attention_heads: usize,
    /// `None` where published models of these shapes differ.
    pub(super) do_stable_layer_norm: Option<bool>,
}

/// The shapes of HuBERT base, MERT-v1-95M and ContentVec.
const BASE: Published = Published {
    mechanism: Mechanism::None,
    hidden_size: 768,
    num_hidden_layers: 12,
    intermediate_size: 3072,
    norm_after_every_conv: false,
    conv_bias: false,
    feat_proj_layer_norm: true,
    num_attention_heads: 12,
    do_stable_layer_norm: Some(false),
};
const DISTIL_HUBERT: Published = Published { num_hidden_layers: 2, feat_proj_layer_norm: false, ..BASE };
const HUBERT_LARGE: Published = Published {
    hidden_size: 1024,
    num_hidden_layers: 24,
    intermediate_size: 4096,
    norm_after_every_conv: true,
    conv_bias: true,
    num_attention_heads: 16,
    do_stable_layer_norm: Some(true),
    ..BASE
};
const HUBERT_X_LARGE: Published =
    Published { hidden_size: 1280, num_hidden_layers: 48, intermediate_size: 5120, ..HUBERT_LARGE };
/// The shapes of XLS-R with two billion parameters.
const XLS_R_2B: Published =
    Published { hidden_size: 1920, num_hidden_layers: 48, intermediate_size: 7680, ..HUBERT_LARGE };
/// The shapes of MERT-v1-330M, which is pre-LN, and of wav2vec2-large, which is post-LN.
const MERT_330M: Published =
    Published { norm_after_every_conv: false, conv_bias: false, do_stable_layer_norm: None, ..HUBERT_LARGE };
const WAVLM_BASE: Published = Published { mechanism: Mechanism::PositionBias, ..BASE };
const WAVLM_LARGE: Published = Published { mechanism: Mechanism::PositionBias, conv_bias: false, ..HUBERT_LARGE };
const DATA2VEC_BASE: Published =
    Published { mechanism: Mechanism::PositionalStack, norm_after_every_conv: true, ..BASE };
static PUBLISHED: [Published; 9] =
    [BASE, DISTIL_HUBERT, HUBERT_LARGE, HUBERT_X_LARGE, XLS_R_2B, MERT_330M, WAVLM_BASE, WAVLM_LARGE, DATA2VEC_BASE];

/// A mechanism that shows in the tensors and that not all families have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    None,
    /// WavLM's gated relative position bias.
    PositionBias,
    /// data2vec's positional convolutions.
    PositionalStack,
    /// HuBERT's BatchNorm before the positional convolution.
    PositionalBatchNorm,
}

impl Mechanism {
    fn of(config: &Config) -> Self {
        match config.positional_conv() {
            PositionalConv::Stack { .. } => Mechanism::PositionalStack,
            PositionalConv::BatchNorm { .. } => Mechanism::PositionalBatchNorm,
            PositionalConv::WeightNorm { .. } if config.position_bias().is_some() => Mechanism::PositionBias,
            PositionalConv::WeightNorm { .. } => Mechanism::None,
        }
    }
}

impl Published {
    /// The published model with every size of a configuration, if there is one.
    pub(super) fn of_shapes(config: &Config) -> Option<&'static Published> {
        PUBLISHED.iter().find(|published| published.has_shapes_of(config))
    }

    /// Whether a configuration has every size of this model.
    fn has_shapes_of(&self, config: &Config) -> bool {
        let usual = config.model.default_config();
        Mechanism::of(config) == self.mechanism
            && config.positional_conv() == usual.positional_conv()
            && config.hidden_size == self.hidden_size
            && config.num_hidden_layers == self.num_hidden_layers
            && config.intermediate_size == self.intermediate_size
            && (config.feat_extract_norm == FeatureExtractorNorm::Layer) == self.norm_after_every_conv
            && config.conv_bias == self.conv_bias
            && config.feat_proj_layer_norm == self.feat_proj_layer_norm
            && config.conv_dim == usual.conv_dim
            && config.conv_kernel == usual.conv_kernel
    }
}
