//! The architecture as values, and the sizes that follow from them.

use serde::{Deserialize, Serialize};

use crate::{Activation, FamilyNames, ModelConfig, PositionBias, PositionalConv};

/// The position of the feature extractor's norms (`feat_extract_norm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureExtractorNorm {
    /// GroupNorm with one channel per group, over time, after convolution 0 only.
    #[default]
    Group,
    /// LayerNorm over channels after every convolution.
    Layer,
}

/// The architecture: the fields of a `config.json` that the forward pass depends on, under their Hugging Face names and with
/// the defaults of transformers' class of the family, such as
/// [`HubertConfig`](https://huggingface.co/docs/transformers/model_doc/hubert#transformers.HubertConfig).
///
/// Fields that only matter in training (dropout, masking, losses) are ignored when read. A field that a family does not have
/// holds the value with which it computes.
///
/// ```
/// use mert_arch::Config;
///
/// let config = Config::from_json(r#"{"model_type": "mert_model", "num_hidden_layers": 24}"#)?;
/// assert_eq!(config.num_hidden_states(), 25);
/// assert_eq!(config.frames(24_000), Some(74)); // one second at 24 kHz
/// # Ok::<(), mert_arch::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The family, by `model_type`, with the fields that only this family has.
    #[serde(flatten)]
    pub model: ModelConfig,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of transformer layers. There is one hidden state more than layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads; `hidden_size` is a multiple of it.
    pub num_attention_heads: usize,
    /// Width of the feed-forward blocks.
    pub intermediate_size: usize,
    /// Activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// Epsilon of every LayerNorm whose weights are `layer_norm` or `final_layer_norm`, except those
    /// inside the feature extractor, which use [`Config::FEATURE_EXTRACTOR_NORM_EPS`].
    pub layer_norm_eps: f64,
    /// Output channels of each convolution of the feature extractor.
    pub conv_dim: Vec<usize>,
    /// Kernel of each convolution of the feature extractor, in its input's frames.
    pub conv_kernel: Vec<usize>,
    /// Stride of each convolution of the feature extractor, in its input's frames.
    pub conv_stride: Vec<usize>,
    /// Whether the convolutions of the feature extractor have a bias.
    pub conv_bias: bool,
    /// The position of the feature extractor's norms.
    pub feat_extract_norm: FeatureExtractorNorm,
    /// Activation of the feature extractor and of the positional convolution.
    pub feat_extract_activation: Activation,
    /// Whether a LayerNorm precedes the projection to `hidden_size`.
    pub feat_proj_layer_norm: bool,
    /// Kernel of the positional convolution, in frames. For data2vec-audio, the number of positional convolutions; engines
    /// read [`Config::positional_conv`].
    pub num_conv_pos_embeddings: usize,
    /// Groups of each positional convolution.
    pub num_conv_pos_embedding_groups: usize,
    /// Whether the layers are pre-LN, with the encoder's LayerNorm after the last layer instead of before the first.
    pub do_stable_layer_norm: bool,
    /// MERT: whether residual branches are scaled by (2 · layers)^0.25
    /// ([DeepNorm](https://arxiv.org/abs/2203.00555)).
    pub deepnorm: bool,
    /// MERT: if positive, attention logits z become ((z / r) − max(z / r)) · r before the softmax.
    /// The same softmax, with less risk of overflow in float16.
    pub attention_relax: f64,
    /// Samples per second of the training audio, in hertz; not used by the forward pass. A converted model's input rate
    /// is that of its [`Preprocessor`](crate::Preprocessor).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            model: ModelConfig::Hubert(Default::default()),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
            conv_dim: vec![512; 7],
            conv_kernel: vec![10, 3, 3, 3, 3, 2, 2],
            conv_stride: vec![5, 2, 2, 2, 2, 2, 2],
            conv_bias: false,
            feat_extract_norm: FeatureExtractorNorm::Group,
            feat_extract_activation: Activation::Gelu,
            feat_proj_layer_norm: true,
            num_conv_pos_embeddings: 128,
            num_conv_pos_embedding_groups: 16,
            do_stable_layer_norm: false,
            deepnorm: false,
            attention_relax: -1.0,
            sample_rate: None,
        }
    }
}

impl Config {
    /// Epsilon of the norms inside the feature extractor: PyTorch's default, not `layer_norm_eps`.
    pub const FEATURE_EXTRACTOR_NORM_EPS: f64 = 1e-5;

    /// The architecture of MERT-v1-95M.
    pub fn mert_v1_95m() -> Self {
        Config { model: ModelConfig::Mert, sample_rate: Some(24_000), ..Config::default() }
    }

    /// The names of the family.
    pub fn family(&self) -> &'static FamilyNames {
        self.model.names()
    }

    /// The positional convolution.
    pub fn positional_conv(&self) -> PositionalConv {
        self.model.family().positional_conv(self)
    }

    /// The bias of the attention scores by the distance of query and key, if the family has one.
    pub fn position_bias(&self) -> Option<PositionBias> {
        self.model.family().position_bias()
    }

    /// Number of hidden states that the model returns: one before the first layer and one after each.
    pub fn num_hidden_states(&self) -> usize {
        self.num_hidden_layers + 1
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Number of channels of the feature extractor's output.
    pub fn feature_size(&self) -> usize {
        self.conv_dim.last().copied().unwrap_or(0)
    }

    /// The factor on the residual branch: (2 · layers)^0.25 with `deepnorm`, else 1.
    pub fn residual_scale(&self) -> f64 {
        if self.deepnorm { (2.0 * self.num_hidden_layers as f64).powf(0.25) } else { 1.0 }
    }

    /// Number of frames for `samples` input samples: floor((n − k) / s) + 1 for each convolution in turn, or `None` if
    /// the input is shorter than the receptive field.
    pub fn frames(&self, samples: usize) -> Option<usize> {
        self.conv_kernel
            .iter()
            .zip(&self.conv_stride)
            .try_fold(samples, |n, (&kernel, &stride)| Some(n.checked_sub(kernel)? / stride + 1))
    }

    /// Number of samples between two frames.
    pub fn hop(&self) -> usize {
        self.conv_stride.iter().product()
    }

    /// Number of samples that one frame depends on: the shortest legal input.
    pub fn receptive_field(&self) -> usize {
        self.conv_kernel.iter().zip(&self.conv_stride).rev().fold(1, |n, (&kernel, &stride)| (n - 1) * stride + kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_counts_of_the_published_model() {
        let config = Config::mert_v1_95m();
        assert_eq!(config.hop(), 320);
        assert_eq!(config.receptive_field(), 400);
        assert_eq!(config.frames(400), Some(1));
        assert_eq!(config.frames(399), None);
        assert_eq!(config.frames(120_000), Some(374));
        assert_eq!(config.frames(720_000), Some(2249));
    }
}
