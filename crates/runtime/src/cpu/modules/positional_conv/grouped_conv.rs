//! A grouped convolution over all frames of each clip, in place.

use bumpalo::collections::Vec as BumpVec;
use candle_core::{Result, Tensor};
use mert_arch::{Activation, PositionalConv};

use super::super::super::arithmetic::Arithmetic;
use super::super::super::kernels::gemm::{Columns, Product};
use super::super::super::kernels::left_operand::{LeftOperand, Rows};
use super::super::super::kernels::output::{Epilogue, Output};
use super::super::super::memory::{PackedWeight, Scratch, for_each_with_scratch, split_columns};
use super::super::context::Executor;
use super::super::weight_loader::WeightLoader;
use super::batch_norm::BatchNorm;

/// A convolution with stride 1 in groups of channels, which returns as many frames as it gets.
///
/// A group reads and writes its own channels only, so the groups run in parallel, in place.
#[derive(Debug)]
pub(super) struct GroupedConv {
    groups: Vec<PackedWeight>,
    kernel: usize,
}

/// What becomes of the result of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Store {
    /// It replaces the input.
    Replace,
    /// The activation of it is added to the input.
    AddActivated(Activation),
}

impl GroupedConv {
    /// Loads one of the convolutions of `variant`.
    pub(super) fn load(weights: &WeightLoader<'_>, width: usize, variant: PositionalConv) -> Result<Self> {
        let (kernel, groups) = (variant.kernel(), variant.groups());
        let channels = width / groups;
        let weight = weights.matrix("weight", (width, channels, kernel))?;
        let bias = weights.vector("bias", width)?;
        let group = |g: usize| {
            let rows = |tensor: &Tensor| tensor.narrow(0, g * channels, channels);
            let arithmetic = weights.arithmetic();
            let tile = arithmetic.isa.tile_for(channels);
            PackedWeight::pack(arithmetic, tile, &rows(&weight)?, Some(&rows(&bias)?))
        };
        Ok(GroupedConv { groups: (0..groups).map(group).collect::<Result<_>>()?, kernel })
    }

    /// Convolves `x` `(clips · frames, width)`, or its norm.
    pub(super) fn run(
        &self,
        executor: &mut Executor<'_>,
        frames: usize,
        x: &mut [f32],
        norm: Option<&BatchNorm>,
        store: Store,
    ) {
        let Some(channels) = self.groups.first().map(PackedWeight::outputs) else { return };
        let width = channels * self.groups.len();
        let arithmetic = executor.arithmetic;
        let arena = executor.task_arena.clear();
        let mut tasks = BumpVec::new_in(arena);
        for clip in x.chunks_mut(frames * width) {
            tasks.extend(split_columns(arena, clip.chunks_mut(width), channels).enumerate());
        }
        for_each_with_scratch(tasks.into_bump_slice_mut(), |(group, frames), scratch| {
            self.run_group(arithmetic, *group, frames, norm, store, scratch);
        });
    }

    /// Convolves the channels of one group, on this thread.
    fn run_group(
        &self,
        arithmetic: Arithmetic,
        group: usize,
        frames: &mut [&mut [f32]],
        norm: Option<&BatchNorm>,
        store: Store,
        scratch: &mut Scratch,
    ) {
        let weight = &self.groups[group];
        let channels = weight.outputs();
        let Scratch { gemm, a, b, .. } = scratch;
        // Padding kernel / 2 on both ends gives an even kernel one frame too many; the last one is dropped.
        let before = self.kernel / 2;
        let padded = a.take((frames.len() + self.kernel - 1) * channels);
        padded.fill(0.0);
        for (padded, frame) in padded.chunks_mut(channels).skip(before).zip(frames.iter()) {
            match norm {
                Some(norm) => norm.normalise(group * channels, frame, padded),
                None => padded.copy_from_slice(frame),
            }
        }
        let result = b.take(frames.len() * channels);
        let activation = match store {
            Store::Replace => None,
            Store::AddActivated(activation) => Some(activation),
        };
        let mut product = Product {
            x: LeftOperand::Rows(Rows::new(padded, channels)),
            columns: Columns { weight, first_panel: 0, epilogue: Epilogue { accumulate: false, activation } },
            out: Output::Strided { values: result, stride: channels, columns: channels },
        };
        product.run(arithmetic, gemm);
        for (frame, result) in frames.iter_mut().zip(result.chunks(channels)) {
            match store {
                Store::Replace => frame.copy_from_slice(result),
                Store::AddActivated(_) => frame.iter_mut().zip(result).for_each(|(x, y)| *x += y),
            }
        }
    }
}
