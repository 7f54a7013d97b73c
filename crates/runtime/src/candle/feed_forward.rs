//! The feed-forward block of a layer.

use candle_core::{Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use mert_arch::{Activation, Config};

use super::ops::activate;

/// Two linear maps with an activation between them: transformers' `HubertFeedForward`.
#[derive(Debug, Clone)]
pub(crate) struct FeedForward {
    intermediate_dense: Linear,
    output_dense: Linear,
    activation: Activation,
}

impl FeedForward {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(FeedForward {
            intermediate_dense: candle_nn::linear(width, inner, vb.pp("intermediate_dense"))?,
            output_dense: candle_nn::linear(inner, width, vb.pp("output_dense"))?,
            activation: config.hidden_act,
        })
    }

    /// Maps `(batch, frames, hidden_size)` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = activate(self.activation, &self.intermediate_dense.forward(x)?)?;
        self.output_dense.forward(&inner)
    }
}
