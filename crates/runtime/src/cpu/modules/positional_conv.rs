//! The convolutional position embedding.

use bumpalo::collections::Vec as BumpVec;
use candle_core::Result;
use mert_arch::{Activation, Config};

use super::super::kernels::gemm::{Columns, Product};
use super::super::kernels::isa::Isa;
use super::super::kernels::left_operand::{LeftOperand, Rows};
use super::super::kernels::output::{Epilogue, Output};
use super::super::memory::{PackedWeight, Scratch, for_each_with_scratch, split_columns};
use super::context::Context;
use super::weight_loader::WeightLoader;

/// The grouped convolution whose output embeds the position of each frame: transformers'
/// `HubertPositionalConvEmbedding`.
#[derive(Debug)]
pub(crate) struct PositionalConvEmbedding {
    groups: Vec<PackedWeight>,
    kernel: usize,
    activation: Activation,
}

impl PositionalConvEmbedding {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let (width, kernel) = (config.hidden_size, config.num_conv_pos_embeddings);
        let groups = config.num_conv_pos_embedding_groups;
        let channels = width / groups;
        let weight = weights.matrix("conv.weight", (width, channels, kernel))?;
        let bias = weights.vector("conv.bias", width)?;
        let group = |g: usize| {
            let rows = |tensor: &candle_core::Tensor| tensor.narrow(0, g * channels, channels);
            PackedWeight::pack(weights.isa().tile_for(channels), &rows(&weight)?, Some(&rows(&bias)?))
        };
        Ok(PositionalConvEmbedding {
            groups: (0..groups).map(group).collect::<Result<_>>()?,
            kernel,
            activation: config.feat_extract_activation,
        })
    }

    /// Adds the embedding to `x` `(clips · frames, hidden_size)`. A group reads and writes its own channels only, so
    /// the groups run in parallel, in place.
    pub(crate) fn add_to(&self, context: &mut Context<'_>, x: &mut [f32]) {
        let Some(channels) = self.groups.first().map(PackedWeight::outputs) else { return };
        let width = channels * self.groups.len();
        let isa = context.executor.isa;
        let arena = context.executor.task_arena.clear();
        let mut tasks = BumpVec::new_in(arena);
        for clip in x.chunks_mut(context.frames * width) {
            tasks.extend(self.groups.iter().zip(split_columns(arena, clip.chunks_mut(width), channels)));
        }
        for_each_with_scratch(tasks.into_bump_slice_mut(), |(weight, frames), scratch| {
            self.group(isa, weight, frames, scratch)
        });
    }

    /// Adds the embedding of one group's channels to `frames`, on this thread.
    fn group(&self, isa: Isa, weight: &PackedWeight, frames: &mut [&mut [f32]], scratch: &mut Scratch) {
        let channels = weight.outputs();
        let Scratch { gemm, a, b, .. } = scratch;
        // Padding kernel / 2 on both ends gives an even kernel one frame too many; the last one is dropped.
        let before = self.kernel / 2;
        let padded = a.take((frames.len() + self.kernel - 1) * channels);
        padded.fill(0.0);
        for (padded, frame) in padded.chunks_mut(channels).skip(before).zip(frames.iter()) {
            padded.copy_from_slice(frame);
        }
        let embedding = b.take(frames.len() * channels);
        let epilogue = Epilogue { accumulate: false, activation: Some(self.activation) };
        let mut product = Product {
            x: LeftOperand::Rows(Rows::new(padded, channels)),
            columns: Columns { weight, first_panel: 0, epilogue },
            out: Output::Strided { values: embedding, stride: channels, columns: channels },
        };
        product.run(isa, gemm);
        for (frame, embedding) in frames.iter_mut().zip(embedding.chunks(channels)) {
            for (x, e) in frame.iter_mut().zip(embedding) {
                *x += e;
            }
        }
    }
}
