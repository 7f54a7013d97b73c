//! Multi-head self-attention: the projections, and the heads split among the threads.

use bumpalo::collections::Vec as BumpVec;
use candle_core::Result;
use mert_arch::Config;
use rayon::prelude::*;

use super::super::kernels::attention::HeadQueries;
use super::super::kernels::head_layout::HeadLayout;
use super::super::kernels::left_operand::Rows;
use super::super::kernels::output::Epilogue;
use super::super::kernels::pack::pack_tile;
use super::super::kernels::position_bias::{self, Gate, PositionBias};
use super::super::memory::{Intermediates, PackedActivations, for_each_with_scratch, split_columns};
use super::context::Context;
use super::joined_linear::JoinedLinear;
use super::linear::Linear;
use super::position_bias::load_gates;
use super::weight_loader::WeightLoader;

/// Queries of a task: the keys and values of a head are read from the cache once for all of them.
const TASK_QUERIES: usize = 240;

/// Multi-head self-attention over all frames, with biases in all four projections: transformers' `HubertAttention` and
/// `WavLMAttention`.
#[derive(Debug)]
pub(crate) struct Attention {
    /// Queries, keys and values, one after the other.
    qkv_proj: JoinedLinear,
    out_proj: Linear,
    heads: usize,
    head_dim: usize,
    /// The gate of each head's position bias; empty without one.
    gates: Vec<Gate>,
}

impl Attention {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let width = config.hidden_size;
        Ok(Attention {
            qkv_proj: weights.joined_linear(&["q_proj", "k_proj", "v_proj"], width, width)?,
            out_proj: weights.linear("out_proj", width, width)?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
            gates: load_gates(weights, config)?,
        })
    }

    /// A map that takes the attention's input; all others take the same.
    pub(crate) fn input(&self) -> &Linear {
        self.qkv_proj.first().unwrap_or(&self.out_proj)
    }

    /// Adds the attention over `x` to `out`; both are `(clips · frames, hidden_size)`.
    ///
    /// MERT's `attention_relax` has no effect here: dividing the scores and multiplying them again around the maximum
    /// changes nothing in exact arithmetic, and nothing overflows in f32.
    pub(crate) fn add_to(&self, context: &mut Context<'_>, x: &PackedActivations, out: &mut [f32]) {
        let Context { executor, intermediates, frames } = context;
        let Intermediates { qkv, keys_values, attended, packed_attended, biases_by_distance, .. } =
            &mut **intermediates;
        let (arithmetic, frames) = (executor.arithmetic, *frames);
        let width = self.heads * self.head_dim;
        let rows = x.all().rows();
        let (qkv, attended) = (qkv.take(rows * 3 * width), attended.take(rows * width));
        self.qkv_proj.forward(executor, x.all(), qkv, Epilogue::default());

        let layout = HeadLayout::new(arithmetic, frames, self.head_dim);
        let keys_values = keys_values.take(rows / frames * self.heads * layout.size());
        keys_values.par_chunks_mut(layout.size()).enumerate().for_each(|(i, packed)| {
            let qkv = &qkv[i / self.heads * frames * 3 * width..][..frames * 3 * width];
            let first = i % self.heads * self.head_dim;
            layout.pack(arithmetic, qkv, 3 * width, [width + first, 2 * width + first], packed);
        });

        let arena = executor.task_arena.clear();
        let mut tasks = BumpVec::new_in(arena);
        for (clip, attended) in attended.chunks_mut(frames * width).enumerate() {
            for (part, attended) in attended.chunks_mut(TASK_QUERIES * width).enumerate() {
                let heads = split_columns(arena, attended.chunks_mut(width), self.head_dim);
                for (head, out) in heads.enumerate() {
                    let query = part * TASK_QUERIES;
                    let row = clip * frames + query;
                    let queries = Rows::new(&qkv[row * 3 * width + head * self.head_dim..], 3 * width);
                    let keys_values = &keys_values[(clip * self.heads + head) * layout.size()..][..layout.size()];
                    let bias = self.gates.get(head).map(|gate| {
                        let size = position_bias::size(layout);
                        PositionBias { gate, by_distance: &biases_by_distance[head * size..][..size], x, row, query }
                    });
                    tasks.push(HeadQueries { layout, queries, keys_values, bias, out });
                }
            }
        }
        for_each_with_scratch(tasks.into_bump_slice_mut(), |task, scratch| task.attend(arithmetic, scratch));

        self.out_proj.resize_input(arithmetic, packed_attended, rows);
        packed_attended.fill_from(attended, |x, tile| pack_tile(arithmetic.isa, tile, x, width));
        let epilogue = Epilogue { accumulate: true, activation: None };
        self.out_proj.forward(executor, packed_attended.all(), out, epilogue);
    }
}
