//! The feed-forward block: two linear layers with the exact GELU between them.

use mert_linear::{Linear, gelu, isa};
use rayon::prelude::*;

use crate::Result;
use crate::bundle::Weights;
use mert_arch::MusicgenDecoder;

/// The values of a task of the GELU: 2 µs or so.
const GELU_VALUES: usize = 4096;

/// A feed-forward block without biases.
pub(crate) struct FeedForward {
    linear1: Linear,
    linear2: Linear,
}

impl FeedForward {
    /// Reads `{layer}.linear1.weight` and `{layer}.linear2.weight`.
    pub(crate) fn open(weights: &Weights, layer: &str, config: &MusicgenDecoder) -> Result<Self> {
        let MusicgenDecoder { hidden_size, ffn_dim, .. } = *config;
        let linear1 = weights.linear(&format!("{layer}.linear1"), ffn_dim, hidden_size)?;
        let linear2 = weights.linear(&format!("{layer}.linear2"), hidden_size, ffn_dim)?;
        Ok(FeedForward { linear1, linear2 })
    }

    /// Adds the block's output for the rows of `x` to `out`. `inner` is memory that is reused.
    pub(crate) fn add(&self, x: &[f32], inner: &mut Vec<f32>, out: &mut [f32]) {
        inner.resize(x.len() / self.linear1.inputs() * self.linear1.outputs(), 0.0);
        self.linear1.forward(x, inner);
        inner.par_chunks_mut(GELU_VALUES).for_each(|inner| gelu(isa(), inner));
        self.linear2.forward_add(inner, out);
    }
}
