//! The feed-forward block of a layer.

use candle_core::Result;
use mert_arch::{Activation, Config};

use super::super::kernels::output::Epilogue;
use super::super::memory::{Intermediates, PackedActivations};
use super::context::Context;
use super::linear::Linear;
use super::weight_loader::WeightLoader;

/// Frames that go through the block at a time, a multiple of any tile: the inner activations, four times as wide as the
/// others, take 6 MB at most, however long the clip.
const FRAMES: usize = 480;

/// Two linear maps with an activation between them: transformers' `HubertFeedForward`.
#[derive(Debug)]
pub(crate) struct FeedForward {
    intermediate_dense: Linear,
    output_dense: Linear,
    activation: Activation,
}

impl FeedForward {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(FeedForward {
            intermediate_dense: weights.linear("intermediate_dense", width, inner)?,
            output_dense: weights.linear("output_dense", inner, width)?,
            activation: config.hidden_act,
        })
    }

    /// The first map, which takes the block's input.
    pub(crate) fn input(&self) -> &Linear {
        &self.intermediate_dense
    }

    /// Adds the block's map of `x` to `out`; both are `(clips · frames, hidden_size)`.
    pub(crate) fn add_to(&self, context: &mut Context<'_>, x: &PackedActivations, out: &mut [f32]) {
        let Context { executor, intermediates, .. } = context;
        let Intermediates { feed_forward: inner, feed_forward_rows: rows, .. } = &mut **intermediates;
        let epilogue = Epilogue { accumulate: true, activation: None };
        let outs = out.chunks_mut(FRAMES * self.output_dense.outputs());
        for (x, out) in x.chunks(FRAMES).zip(outs) {
            let out_inner = (&mut *inner, &mut *rows);
            self.intermediate_dense.forward_packed(executor, x, &self.output_dense, out_inner, self.activation);
            self.output_dense.forward(executor, inner.all(), out, epilogue);
        }
    }
}
