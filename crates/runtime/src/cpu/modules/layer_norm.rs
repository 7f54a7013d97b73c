//! LayerNorm as a module: the checkpoint's weights, and the frames split among the threads.

use candle_core::{DType, Result, Tensor};
use mert_simd::{Buffer, Isa};
use rayon::prelude::*;

use super::super::kernels::layer_norm::{Affine, layer_norm};
use super::super::kernels::pack::pack_tile;
use super::super::memory::{PackedActivations, with_scratch};
use super::context::Executor;
use super::linear::Linear;

/// `torch.nn.LayerNorm` over the channels of each frame.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    affine: Affine,
}

impl LayerNorm {
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        let values = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.to_vec1::<f32>();
        let (weight, bias) = (Buffer::from(&values(weight)?[..]), Buffer::from(&values(bias)?[..]));
        Ok(LayerNorm { affine: Affine { weight, bias, eps: eps as f32 } })
    }

    /// The norm without gain and bias: PyTorch's `elementwise_affine=False`.
    pub(crate) fn without_affine(channels: usize, eps: f64) -> Self {
        let (weight, bias) = (Buffer::from(&vec![1.0; channels][..]), Buffer::zeroed(channels));
        LayerNorm { affine: Affine { weight, bias, eps: eps as f32 } }
    }

    /// Normalises the frames of `x` in place, on all threads.
    pub(crate) fn forward(&self, isa: Isa, x: &mut [f32]) {
        /// Frames of a task: enough to be worth one.
        const FRAMES: usize = 32;
        x.par_chunks_mut(FRAMES * self.channels()).for_each(|frames| self.normalise(isa, frames));
    }

    /// Normalises the frames of `x` in place and writes them to `packed`, as the input of `next`, on all threads.
    pub(crate) fn forward_packed(
        &self,
        executor: &Executor<'_>,
        x: &mut [f32],
        packed: &mut PackedActivations,
        next: &Linear,
    ) {
        let isa = executor.arithmetic.isa;
        next.resize_input(executor.arithmetic, packed, x.len() / self.channels());
        packed.fill_from(x, |x, tile| {
            self.normalise(isa, x);
            pack_tile(isa, tile, x, self.channels());
        });
    }

    /// Writes the normalised frames of `x` to `packed` only, as the input of `next`, on all threads.
    pub(crate) fn to_packed(
        &self,
        executor: &Executor<'_>,
        x: &mut [f32],
        packed: &mut PackedActivations,
        next: &Linear,
    ) {
        let isa = executor.arithmetic.isa;
        next.resize_input(executor.arithmetic, packed, x.len() / self.channels());
        packed.fill_from(x, |x, tile| {
            with_scratch(|scratch| {
                let normalised = scratch.a.take(x.len());
                normalised.copy_from_slice(x);
                self.normalise(isa, normalised);
                pack_tile(isa, tile, normalised, self.channels());
            });
        });
    }

    /// Normalises the frames of `x` in place, on this thread.
    pub(crate) fn normalise(&self, isa: Isa, x: &mut [f32]) {
        layer_norm(isa, x, &self.affine);
    }

    pub(crate) fn channels(&self) -> usize {
        self.affine.weight.len()
    }
}
