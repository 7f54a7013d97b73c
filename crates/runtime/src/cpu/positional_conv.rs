use bumpalo::collections::Vec as BumpVec;
use candle_core::Result;
use mert_arch::{Activation, Config};

use super::gemm::{Columns, Epilogue, Left, Out, Product, Rows};
use super::isa::Isa;
use super::linear::Linear;
use super::lists::{self, Lists};
use super::scratch::{self, Scratch};
use super::weights::Weights;

/// The grouped convolution that tells each frame where it is; its output is added to its input.
#[derive(Debug)]
pub(crate) struct PositionalConvEmbedding {
    groups: Vec<Linear>,
    kernel: usize,
    activation: Activation,
}

impl PositionalConvEmbedding {
    pub(crate) fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let (width, kernel) = (config.hidden_size, config.num_conv_pos_embeddings);
        let groups = config.num_conv_pos_embedding_groups;
        let channels = width / groups;
        let weight = weights.matrix("conv.weight", (width, channels, kernel))?;
        let bias = weights.vector("conv.bias", width)?;
        let group = |g: usize| {
            let rows = |tensor: &candle_core::Tensor| tensor.narrow(0, g * channels, channels);
            Linear::pack(isa, isa.shape_for(channels), &rows(&weight)?, Some(&rows(&bias)?))
        };
        Ok(PositionalConvEmbedding {
            groups: (0..groups).map(group).collect::<Result<_>>()?,
            kernel,
            activation: config.feat_extract_activation,
        })
    }

    /// Adds the embedding to `x` `(clips, frames, width)`. A group reads and changes its own channels
    /// only, so the groups run in parallel, in place.
    pub(crate) fn add_to(&self, isa: Isa, x: &mut [f32], frames: usize, lists: &mut Lists) {
        let Some(channels) = self.groups.first().map(Linear::outputs) else { return };
        let width = channels * self.groups.len();
        let bump = lists.clear();
        let mut tasks = BumpVec::new_in(bump);
        for clip in x.chunks_mut(frames * width) {
            tasks.extend(self.groups.iter().zip(lists::columns(bump, clip.chunks_mut(width), channels)));
        }
        scratch::for_each(tasks.into_bump_slice_mut(), |(conv, frames), scratch| {
            self.group(isa, conv, frames, scratch)
        });
    }

    fn group(&self, isa: Isa, conv: &Linear, frames: &mut [&mut [f32]], scratch: &mut Scratch) {
        let channels = conv.outputs();
        let Scratch { gemm, a, b, .. } = scratch;
        // Padding kernel / 2 on both ends gives an even kernel one frame too many: the last goes.
        let before = self.kernel / 2;
        let padded = a.take((frames.len() + self.kernel - 1) * channels);
        padded.fill(0.0);
        for (padded, frame) in padded.chunks_mut(channels).skip(before).zip(frames.iter()) {
            padded.copy_from_slice(frame);
        }
        let embedding = b.take(frames.len() * channels);
        let mut product = Product {
            x: Left::Rows(Rows::new(padded, channels)),
            columns: Columns {
                weight: conv,
                first_panel: 0,
                epilogue: Epilogue { accumulate: false, activation: Some(self.activation) },
            },
            out: Out::Strided { values: embedding, stride: channels, columns: channels },
        };
        product.run(isa, gemm);
        for (frame, embedding) in frames.iter_mut().zip(embedding.chunks(channels)) {
            for (x, e) in frame.iter_mut().zip(embedding) {
                *x += e;
            }
        }
    }
}
