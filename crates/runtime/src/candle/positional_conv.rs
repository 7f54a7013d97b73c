//! The convolutional position embedding.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{Activation, Config};

use super::ops::{Conv1d, activate};

/// The grouped convolution whose output embeds the position of each frame: transformers'
/// `HubertPositionalConvEmbedding`.
#[derive(Debug, Clone)]
pub(crate) struct PositionalConvEmbedding {
    conv: Conv1d,
    activation: Activation,
}

impl PositionalConvEmbedding {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let (width, kernel) = (config.hidden_size, config.num_conv_pos_embeddings);
        let groups = config.num_conv_pos_embedding_groups;
        let weight = vb.get((width, width / groups, kernel), "conv.weight")?;
        let bias = vb.get(width, "conv.bias")?;
        let conv = Conv1d::new(weight, Some(bias), 1, kernel / 2, groups)?;
        Ok(PositionalConvEmbedding { conv, activation: config.feat_extract_activation })
    }

    /// Maps `(batch, frames, hidden_size)` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // Padding kernel / 2 on both ends gives an even kernel one frame too many; the last one is dropped.
        let y = self.conv.forward(x)?.narrow(1, 0, x.dim(1)?)?;
        activate(self.activation, &y)
    }
}
