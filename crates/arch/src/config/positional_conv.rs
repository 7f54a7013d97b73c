//! The convolutional position embedding: its variants, and their tensors.

use crate::inventory::{Role, TensorList};
use crate::weight_norm;

/// The convolutional position embedding, which is added to the projected features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionalConv {
    /// One grouped convolution, whose weight checkpoints store under weight norm: all families but data2vec.
    WeightNorm {
        /// Kernel in frames; kernel / 2 frames of padding on both ends, and the last output of an even kernel dropped.
        kernel: usize,
        /// Groups.
        groups: usize,
    },
    /// A BatchNorm (running statistics, epsilon 1e-5) before one grouped convolution without weight norm: HuBERT with
    /// `conv_pos_batch_norm`. The convolution pads the normalised frames with zeros.
    BatchNorm {
        /// Kernel in frames; kernel / 2 frames of padding on both ends, and the last output of an even kernel dropped.
        kernel: usize,
        /// Groups.
        groups: usize,
    },
    /// Several grouped convolutions in a chain, each followed by a LayerNorm over channels without weight and bias (epsilon
    /// 1e-5) and the activation: data2vec.
    Stack {
        /// Number of convolutions.
        layers: usize,
        /// Kernel of each in frames; kernel / 2 frames of padding on both ends, and the last output of an even kernel dropped.
        kernel: usize,
        /// Groups of each.
        groups: usize,
    },
}

impl PositionalConv {
    /// The kernel of each convolution in frames.
    pub const fn kernel(self) -> usize {
        let (PositionalConv::WeightNorm { kernel, .. }
        | PositionalConv::BatchNorm { kernel, .. }
        | PositionalConv::Stack { kernel, .. }) = self;
        kernel
    }

    /// The groups of each convolution.
    pub const fn groups(self) -> usize {
        let (PositionalConv::WeightNorm { groups, .. }
        | PositionalConv::BatchNorm { groups, .. }
        | PositionalConv::Stack { groups, .. }) = self;
        groups
    }

    /// The number of convolutions.
    pub const fn layers(self) -> usize {
        match self {
            PositionalConv::Stack { layers, .. } => layers,
            PositionalConv::WeightNorm { .. } | PositionalConv::BatchNorm { .. } => 1,
        }
    }

    /// Adds the tensors of the embedding in an encoder of this width.
    pub(crate) fn add_tensors(self, width: usize, tensors: &mut TensorList) {
        let shape = [width, width / self.groups(), self.kernel()];
        match self {
            PositionalConv::WeightNorm { .. } => {
                tensors.push(weight_norm::FUSED.to_string(), &shape, Role::PositionalConv);
                tensors.push(format!("{}.bias", weight_norm::MODULE), &[width], Role::Bias);
            }
            PositionalConv::BatchNorm { .. } => {
                tensors.norm("encoder.pos_conv_embed.batch_norm", width);
                for statistic in ["running_mean", "running_var"] {
                    tensors.push(format!("encoder.pos_conv_embed.batch_norm.{statistic}"), &[width], Role::Statistic);
                }
                tensors.push("encoder.pos_conv_embed.conv.weight".to_string(), &shape, Role::Conv1d);
                tensors.push("encoder.pos_conv_embed.conv.bias".to_string(), &[width], Role::Bias);
            }
            PositionalConv::Stack { layers, .. } => {
                for i in 0..layers {
                    let path = format!("encoder.pos_conv_embed.layers.{i}.conv");
                    tensors.push(format!("{path}.weight"), &shape, Role::Conv1d);
                    tensors.push(format!("{path}.bias"), &[width], Role::Bias);
                }
            }
        }
    }
}
