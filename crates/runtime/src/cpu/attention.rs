//! Multi-head self-attention over all frames, without the matrix of scores.
//!
//! Queries are taken a few tiles at a time over blocks of keys, with the softmax rescaled as its
//! maximum grows (Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), so
//! that the scores never leave the cache and memory grows with the clip's length and not with its
//! square.

use bumpalo::collections::Vec as BumpVec;
use candle_core::Result;
use mert_arch::Config;
use pulp::Simd;
use rayon::prelude::*;

use super::buffer::{Buffer, LINE};
use super::gemm::{Epilogue, Rows, pack_left};
use super::isa::{Isa, Kernel, Shape};
use super::linear::Linear;
use super::lists::{self, Lists};
use super::math::exp_scaled;
use super::microkernel::{left_groups, multiply};
use super::packed::Packed;
use super::scratch::{self, Scratch};
use super::weights::Weights;

/// Queries to a task: the keys and values of a head are read from the cache once for all of them.
const TASK_QUERIES: usize = 240;

/// Tiles of queries that share a block of keys while it is in the first-level cache.
const QUERY_TILES: usize = 2;

/// Keys whose scores are held at a time.
const KEY_BLOCK: usize = 512;

/// Rows of a tile that go through the softmax together; divides all tiles' rows.
const SOFTMAX_ROWS: usize = 3;

/// A score that no softmax sees, and whose arithmetic stays finite.
const MASKED: f32 = -1e30;

/// The projections; biases in all four.
#[derive(Debug)]
pub(crate) struct Attention {
    /// Queries, keys and values, one after the other.
    qkv_proj: Linear,
    out_proj: Linear,
    heads: usize,
    head_dim: usize,
}

impl Attention {
    pub(crate) fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let width = config.hidden_size;
        Ok(Attention {
            qkv_proj: weights.joined_linear(isa, &["q_proj", "k_proj", "v_proj"], width, width)?,
            out_proj: weights.linear(isa, "out_proj", width, width)?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
        })
    }

    /// Adds the attention over `x` to `out`; both are `(clips · frames, width)`.
    ///
    /// `attention_relax` does not appear: dividing the scores and multiplying them again around the
    /// maximum changes nothing in exact arithmetic, and nothing overflows in f32.
    pub(crate) fn add_to(
        &self,
        isa: Isa,
        x: &Packed,
        frames: usize,
        memory: &mut Memory,
        out: &mut [f32],
        lists: &mut Lists,
    ) {
        let width = self.heads * self.head_dim;
        let rows = x.all().rows();
        let Memory { qkv, keys_values, mixed, packed } = memory;
        let (qkv, mixed) = (qkv.take(rows * 3 * width), mixed.take(rows * width));
        self.qkv_proj.forward(isa, x.all(), qkv, Epilogue::default(), lists);

        let layout = HeadLayout::new(isa, frames, self.head_dim);
        let keys_values = keys_values.take(rows / frames * self.heads * layout.size());
        keys_values.par_chunks_mut(layout.size()).enumerate().for_each(|(i, packed)| {
            let qkv = &qkv[i / self.heads * frames * 3 * width..][..frames * 3 * width];
            let first = i % self.heads * self.head_dim;
            layout.pack(qkv, 3 * width, [width + first, 2 * width + first], packed);
        });

        let bump = lists.clear();
        let mut tasks = BumpVec::new_in(bump);
        for (clip, mixed) in mixed.chunks_mut(frames * width).enumerate() {
            for (part, mixed) in mixed.chunks_mut(TASK_QUERIES * width).enumerate() {
                let heads = lists::columns(bump, mixed.chunks_mut(width), self.head_dim);
                for (head, out) in heads.enumerate() {
                    let start = (clip * frames + part * TASK_QUERIES) * 3 * width + head * self.head_dim;
                    let queries = Rows::new(&qkv[start..], 3 * width);
                    let keys_values = &keys_values[(clip * self.heads + head) * layout.size()..][..layout.size()];
                    tasks.push(Head { layout, queries, keys_values, out });
                }
            }
        }
        scratch::for_each(tasks.into_bump_slice_mut(), |head, scratch| {
            isa.run(Shape::Square, Attend { head, scratch })
        });

        packed.resize(isa, rows, width);
        packed.copy_from(mixed);
        self.out_proj.forward(isa, packed.all(), out, Epilogue { accumulate: true, activation: None }, lists);
    }
}

/// What all layers use in turn.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    qkv: Buffer,
    keys_values: Buffer,
    mixed: Buffer,
    packed: Packed,
}

/// How the keys and values of one head are packed: as right operands, first the transposed keys in
/// panels of keys, `[panel][channel][key of the panel]`, then the values in panels of channels,
/// `[panel][key][channel of the panel]`. Zeros fill up panels and lines.
#[derive(Debug, Clone, Copy)]
struct HeadLayout {
    frames: usize,
    head_dim: usize,
    panel: usize,
}

impl HeadLayout {
    fn new(isa: Isa, frames: usize, head_dim: usize) -> Self {
        let (_, panel) = isa.tile(Shape::Square);
        HeadLayout { frames, head_dim, panel }
    }

    /// Keys, with those that fill the last panel.
    fn keys(&self) -> usize {
        self.frames.next_multiple_of(self.panel)
    }

    /// Channels as the inner dimension of queries · keys.
    fn inner(&self) -> usize {
        self.head_dim.next_multiple_of(LINE)
    }

    fn size(&self) -> usize {
        self.keys() * (self.inner() + self.head_dim.next_multiple_of(self.panel))
    }

    /// Keys and values start at columns `[keys, values]` of the rows of `qkv`.
    fn pack(&self, qkv: &[f32], row_stride: usize, [keys, values]: [usize; 2], packed: &mut [f32]) {
        let (packed_keys, packed_values) = packed.split_at_mut(self.keys() * self.inner());
        let panels = packed_keys.chunks_mut(self.panel * self.inner());
        for (rows, packed) in qkv.chunks(self.panel * row_stride).zip(panels) {
            let (channels, fill) = packed.split_at_mut(self.head_dim * self.panel);
            for (channel, packed) in channels.chunks_mut(self.panel).enumerate() {
                let (packed, fill) = packed.split_at_mut(rows.len() / row_stride);
                for (packed, row) in packed.iter_mut().zip(rows.chunks(row_stride)) {
                    *packed = row[keys + channel];
                }
                fill.fill(0.0);
            }
            fill.fill(0.0);
        }
        let panels = packed_values.chunks_mut(self.keys() * self.panel);
        for (panel, packed) in panels.enumerate() {
            let width = self.panel.min(self.head_dim - panel * self.panel);
            let (rows, fill) = packed.split_at_mut(self.frames * self.panel);
            for (row, packed) in qkv.chunks(row_stride).zip(rows.chunks_mut(self.panel)) {
                let (packed, fill) = packed.split_at_mut(width);
                packed.copy_from_slice(&row[values + panel * self.panel..][..width]);
                fill.fill(0.0);
            }
            fill.fill(0.0);
        }
    }
}

/// Some queries of one head.
struct Head<'a> {
    layout: HeadLayout,
    queries: Rows<'a>,
    /// As [`HeadLayout`] has it.
    keys_values: &'a [f32],
    /// A row of `head_dim` for each query.
    out: &'a mut [&'a mut [f32]],
}

struct Attend<'a, 'b> {
    head: &'b mut Head<'a>,
    scratch: &'b mut Scratch,
}

impl Kernel for Attend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Head { layout, queries, keys_values, ref mut out } = *self.head;
        for (i, out) in out.chunks_mut(QUERY_TILES * ROWS).enumerate() {
            let queries = queries.after(i * QUERY_TILES * ROWS);
            attend::<S, ROWS, VECTORS>(simd, layout, queries, keys_values, out, self.scratch);
        }
    }
}

/// At most `QUERY_TILES` tiles of queries over all keys.
#[inline(always)]
fn attend<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    layout: HeadLayout,
    queries: Rows<'_>,
    keys_values: &[f32],
    out: &mut [&mut [f32]],
    scratch: &mut Scratch,
) {
    let Scratch { a, b, c, .. } = scratch;
    let (keys, inner, panel) = (layout.keys(), layout.inner(), layout.panel);
    let tiles = out.len().div_ceil(ROWS);
    let left = pack_left::<ROWS>(queries, out.len(), 0, inner, layout.head_dim, a);
    let scores = b.take(tiles * ROWS * KEY_BLOCK);
    let channels = layout.head_dim.next_multiple_of(panel);
    let sums = c.take(tiles * ROWS * channels);
    sums.fill(0.0);
    let scale = (layout.head_dim as f32).powf(-0.5);
    let mut softmax = [[RunningSoftmax::START; ROWS]; QUERY_TILES];
    let (packed_keys, packed_values) = keys_values.split_at(keys * inner);
    for first in (0..keys).step_by(KEY_BLOCK) {
        let block = KEY_BLOCK.min(keys - first);
        for (i, right) in packed_keys[first * inner..][..block * inner].chunks_exact(panel * inner).enumerate() {
            for tile in 0..tiles {
                let products = multiply::<S, ROWS, VECTORS>(
                    simd,
                    left_groups(&left[tile * ROWS * inner..][..ROWS * inner]),
                    right,
                    &[],
                );
                let scores = &mut scores[tile * ROWS * block + i * panel * ROWS..][..panel * ROWS];
                store_as_left::<S, ROWS, VECTORS>(&products, scores);
            }
        }
        for tile in 0..tiles {
            let scores = &mut scores[tile * ROWS * block..][..ROWS * block];
            let (groups, _) = scores.as_chunks_mut::<LINE>().0.as_chunks_mut::<ROWS>();
            if first + block > layout.frames {
                mask(groups, layout.frames - first);
            }
            let (softmax, _) = softmax[tile].as_chunks_mut::<SOFTMAX_ROWS>();
            for (i, softmax) in softmax.iter_mut().enumerate() {
                let corrections = exponentials(simd, softmax, groups, i * SOFTMAX_ROWS, scale);
                let rows = sums[(tile * ROWS + i * SOFTMAX_ROWS) * channels..].chunks_exact_mut(channels);
                for (sums, correction) in rows.zip(corrections) {
                    if correction != 1.0 {
                        sums.iter_mut().for_each(|sum| *sum *= correction);
                    }
                }
            }
        }
        for (i, values) in packed_values.chunks_exact(keys * panel).enumerate() {
            let right = &values[first * panel..][..block * panel];
            for tile in 0..tiles {
                let products = multiply::<S, ROWS, VECTORS>(
                    simd,
                    left_groups(&scores[tile * ROWS * block..][..ROWS * block]),
                    right,
                    &[],
                );
                for row in 0..ROWS {
                    let sums = &mut sums[(tile * ROWS + row) * channels + i * panel..][..panel];
                    let (sums, _) = S::as_mut_simd_f32s(sums);
                    for vector in 0..VECTORS {
                        sums[vector] = simd.add_f32s(sums[vector], products[row][vector]);
                    }
                }
            }
        }
    }
    for ((out, sums), softmax) in out.iter_mut().zip(sums.chunks(channels)).zip(softmax.as_flattened()) {
        let scale = 1.0 / softmax.sum;
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum * scale;
        }
    }
}

/// Stores a tile of scores as groups of a left operand, whose inner dimension its columns are.
#[inline(always)]
fn store_as_left<S: Simd, const ROWS: usize, const VECTORS: usize>(
    products: &[[S::f32s; VECTORS]; ROWS],
    scores: &mut [f32],
) {
    let vectors_in_line = LINE / S::F32_LANES;
    let (scores, _) = S::as_mut_simd_f32s(scores);
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            let group = vector / vectors_in_line;
            scores[(group * ROWS + row) * vectors_in_line + vector % vectors_in_line] = products[row][vector];
        }
    }
}

/// Hides the keys from `keys` on, which only fill the last panel.
fn mask<const ROWS: usize>(groups: &mut [[[f32; LINE]; ROWS]], keys: usize) {
    for key in keys..groups.len() * LINE {
        for row in &mut groups[key / LINE] {
            row[key % LINE] = MASKED;
        }
    }
}

/// The softmax of one query over the keys so far.
#[derive(Debug, Clone, Copy)]
struct RunningSoftmax {
    max: f32,
    sum: f32,
}

impl RunningSoftmax {
    const START: RunningSoftmax = RunningSoftmax { max: MASKED, sum: 0.0 };
}

/// Turns a block's scores into exp(scale · (score − max)), in `N` rows of a tile from row `first` on:
/// several at a time, because each is a chain of maxima and one of sums. Returns the factors by which
/// what was summed before has to shrink.
#[inline(always)]
fn exponentials<S: Simd, const ROWS: usize, const N: usize>(
    simd: S,
    rows: &mut [RunningSoftmax; N],
    groups: &mut [[[f32; LINE]; ROWS]],
    first: usize,
    scale: f32,
) -> [f32; N] {
    let mut maxima = [simd.splat_f32s(MASKED); N];
    for group in groups.iter() {
        for i in 0..N {
            for &score in S::as_simd_f32s(&group[first + i]).0 {
                maxima[i] = simd.max_f32s(maxima[i], score);
            }
        }
    }
    let mut corrections = [1.0; N];
    for i in 0..N {
        let max = simd.reduce_max_f32s(maxima[i]);
        if max > rows[i].max {
            corrections[i] = ((rows[i].max - max) * scale).exp();
            rows[i].max = max;
        }
        maxima[i] = simd.splat_f32s(rows[i].max);
    }
    let mut sums = [simd.splat_f32s(0.0); N];
    for group in groups.iter_mut() {
        for i in 0..N {
            for score in S::as_mut_simd_f32s(&mut group[first + i]).0 {
                *score = exp_scaled(simd, simd.sub_f32s(*score, maxima[i]), scale);
                sums[i] = simd.add_f32s(sums[i], *score);
            }
        }
    }
    for i in 0..N {
        rows[i].sum = rows[i].sum * corrections[i] + simd.reduce_sum_f32s(sums[i]);
    }
    corrections
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Softmax attention of one head in f64, over rows of queries, keys and values.
    fn expected(qkv: &[f32], frames: usize, dim: usize, query: usize) -> Vec<f64> {
        let at = |frame: usize, part: usize, c: usize| f64::from(qkv[frame * 3 * dim + part * dim + c]);
        let logits: Vec<f64> = (0..frames)
            .map(|key| (0..dim).map(|c| at(query, 0, c) * at(key, 1, c)).sum::<f64>() / (dim as f64).sqrt())
            .collect();
        let max = logits.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..dim).map(|c| (0..frames).map(|key| weights[key] / sum * at(key, 2, c)).sum()).collect()
    }

    #[test]
    fn agrees_with_the_definition_in_f64_across_blocks() {
        for isa in Isa::available() {
            for (frames, dim) in [(1, 4), (7, 16), (31, 20), (KEY_BLOCK, 64), (2 * KEY_BLOCK + 45, 64)] {
                // The largest score comes last, so that every block rescales what came before.
                let value = |i: usize| ((i * 7919) % 997) as f32 / 250.0 - 2.0;
                let growth = |i: usize| 1.0 + (i / (3 * dim)) as f32 / frames as f32;
                let qkv: Vec<f32> = (0..frames * 3 * dim).map(|i| value(i) * growth(i)).collect();
                let layout = HeadLayout::new(isa, frames, dim);
                // Whatever was there before, it is written over.
                let mut packed = vec![f32::NAN; layout.size()];
                layout.pack(&qkv, 3 * dim, [dim, 2 * dim], &mut packed);
                let mut out = vec![0.0; frames * dim];
                let mut head = Head {
                    layout,
                    queries: Rows::new(&qkv, 3 * dim),
                    keys_values: &packed,
                    out: &mut out.chunks_mut(dim).collect::<Vec<_>>(),
                };
                isa.run(Shape::Square, Attend { head: &mut head, scratch: &mut Scratch::default() });
                for query in [0, frames / 2, frames.saturating_sub(2), frames - 1] {
                    for (got, expected) in out[query * dim..].iter().zip(expected(&qkv, frames, dim, query)) {
                        // Scores of up to 100 are exact to 1e-5 in f32, and so are their exponentials.
                        approx::assert_abs_diff_eq!(f64::from(*got), expected, epsilon = 3e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_reaches_the_result() {
        let (frames, dim) = (40, 16);
        let mut qkv: Vec<f32> = (0..frames * 3 * dim).map(|i| (i % 11) as f32).collect();
        qkv[20 * 3 * dim + dim] = f32::NAN;
        for isa in Isa::available() {
            let layout = HeadLayout::new(isa, frames, dim);
            let mut packed = vec![0.0; layout.size()];
            layout.pack(&qkv, 3 * dim, [dim, 2 * dim], &mut packed);
            let mut out = vec![0.0; dim];
            let queries = Rows::new(&qkv, 3 * dim);
            let mut head = Head { layout, queries, keys_values: &packed, out: &mut [&mut out] };
            isa.run(Shape::Square, Attend { head: &mut head, scratch: &mut Scratch::default() });
            assert!(out.iter().all(|v| v.is_nan()), "{isa:?}: {out:?}");
        }
    }
}
