//! The tensors of the encoder: names, roles and shapes that follow from a configuration.

use serde::Serialize;

use crate::{Config, FeatureExtractorNorm};

/// The role of a tensor in the model, which decides its order in a [`Layout`](crate::Layout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The weight of a Conv1d, `(out, in / groups, kernel)` in PyTorch.
    Conv1d,
    /// The weight of the positional Conv1d, which checkpoints store under weight norm.
    PositionalConv,
    /// The weight of a Linear, `(out, in)`.
    Linear,
    /// The bias of a Conv1d or a Linear, `(out,)`.
    Bias,
    /// The gain of a norm, `(channels,)`.
    NormWeight,
    /// The bias of a norm, `(channels,)`.
    NormBias,
    /// A running mean or variance of a BatchNorm, `(channels,)`.
    Statistic,
    /// A table of values by index, `(rows, columns)`.
    Embedding,
    /// A factor in WavLM's gate, `(1, heads, 1, 1)`.
    Gate,
}

impl Role {
    /// Whether the tensor is the weight of a convolution; layouts differ in no other tensor.
    pub const fn is_conv1d(self) -> bool {
        matches!(self, Role::Conv1d | Role::PositionalConv)
    }
}

/// One tensor that a configuration implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The Hugging Face name, without any prefix.
    pub name: String,
    /// The shape in PyTorch's order.
    pub shape: Vec<usize>,
    /// The role of the tensor in the model.
    pub role: Role,
}

/// The name of the weight of convolution 0. Every model of the family has exactly one tensor whose name ends in it, so
/// that it shows the prefix of a checkpoint's keys.
pub const CONV0_WEIGHT: &str = "feature_extractor.conv_layers.0.conv.weight";

/// The tensors of the model that a configuration describes, in the order of the forward pass, with weight norm fused:
/// 209 for MERT-v1-95M.
///
/// Names are those of transformers'
/// [`HubertModel`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/hubert/modeling_hubert.py)
/// and its relatives, which all families share.
pub fn inventory(config: &Config) -> Vec<TensorSpec> {
    let mut tensors = TensorList::default();
    tensors.feature_extractor(config);
    tensors.feature_projection(config);
    tensors.encoder(config);
    tensors.into_specs()
}

/// The tensors collected so far.
#[derive(Default)]
pub(crate) struct TensorList(Vec<TensorSpec>);

impl TensorList {
    /// The tensors, in the order in which they were added.
    pub(crate) fn into_specs(self) -> Vec<TensorSpec> {
        self.0
    }

    /// Adds one tensor.
    pub(crate) fn push(&mut self, name: String, shape: &[usize], role: Role) {
        self.0.push(TensorSpec { name, shape: shape.to_vec(), role });
    }

    /// Adds the weight and bias of a norm.
    pub(crate) fn norm(&mut self, path: &str, channels: usize) {
        self.push(format!("{path}.weight"), &[channels], Role::NormWeight);
        self.push(format!("{path}.bias"), &[channels], Role::NormBias);
    }

    /// Adds the weight and bias of a Linear.
    pub(crate) fn linear(&mut self, path: &str, input: usize, output: usize) {
        self.push(format!("{path}.weight"), &[output, input], Role::Linear);
        self.push(format!("{path}.bias"), &[output], Role::Bias);
    }

    fn feature_extractor(&mut self, config: &Config) {
        let mut input = 1;
        for (i, (&output, &kernel)) in config.conv_dim.iter().zip(&config.conv_kernel).enumerate() {
            let path = format!("feature_extractor.conv_layers.{i}");
            self.push(format!("{path}.conv.weight"), &[output, input, kernel], Role::Conv1d);
            if config.conv_bias {
                self.push(format!("{path}.conv.bias"), &[output], Role::Bias);
            }
            if config.feat_extract_norm == FeatureExtractorNorm::Layer || i == 0 {
                self.norm(&format!("{path}.layer_norm"), output);
            }
            input = output;
        }
    }

    fn feature_projection(&mut self, config: &Config) {
        if config.feat_proj_layer_norm {
            self.norm("feature_projection.layer_norm", config.feature_size());
        }
        self.linear("feature_projection.projection", config.feature_size(), config.hidden_size);
    }

    fn encoder(&mut self, config: &Config) {
        let width = config.hidden_size;
        config.positional_conv().add_tensors(width, self);
        self.norm("encoder.layer_norm", width);
        for i in 0..config.num_hidden_layers {
            let path = format!("encoder.layers.{i}");
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&format!("{path}.attention.{projection}"), width, width);
            }
            if let Some(bias) = config.position_bias() {
                let (heads, head_dim) = (config.num_attention_heads, config.head_dim());
                bias.add_tensors(&format!("{path}.attention"), i, heads, head_dim, self);
            }
            self.norm(&format!("{path}.layer_norm"), width);
            self.linear(&format!("{path}.feed_forward.intermediate_dense"), width, config.intermediate_size);
            self.linear(&format!("{path}.feed_forward.output_dense"), config.intermediate_size, width);
            self.norm(&format!("{path}.final_layer_norm"), width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mert_v1_95m_has_209_tensors_and_the_published_number_of_values() {
        let tensors = inventory(&Config::mert_v1_95m());
        assert_eq!(tensors.len(), 209);
        let values: usize = tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum();
        // The checkpoint's 94,371,712 include weight_g (128) and masked_spec_embed (768).
        assert_eq!(values, 94_371_712 - 128 - 768);
    }

    #[test]
    fn names_are_unique() {
        let config =
            Config { conv_bias: true, feat_extract_norm: FeatureExtractorNorm::Layer, ..Config::mert_v1_95m() };
        let tensors = inventory(&config);
        let names: std::collections::BTreeSet<_> = tensors.iter().map(|t| &t.name).collect();
        assert_eq!(names.len(), tensors.len());
        assert_eq!(tensors.len(), 209 + 7 + 12);
    }
}
