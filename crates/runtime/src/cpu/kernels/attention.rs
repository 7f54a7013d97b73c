//! Scaled dot-product attention over all frames, without the matrix of scores.
//!
//! Queries are taken a few tiles at a time over blocks of keys, with a running softmax ([Dao et al.
//! 2022](https://arxiv.org/abs/2205.14135)), so that the scores never leave the cache and memory grows with the clip's
//! length and not with its square.

use pulp::Simd;

use super::super::memory::{LINE, Scratch, TileShape};
use super::head_layout::HeadLayout;
use super::isa::{Isa, Kernel};
use super::left_operand::{Rows, pack_left};
use super::microkernel::{left_groups, multiply};
use super::softmax::{RunningSoftmax, exponentials, mask};

/// Tiles of queries that share a block of keys while it is in the first-level cache.
const QUERY_TILES: usize = 2;

/// Keys whose scores are held at a time.
const KEY_BLOCK: usize = 512;

/// Rows of a tile that go through the softmax together; divides all tiles' rows.
const SOFTMAX_ROWS: usize = 3;

/// Some queries of one head, and the memory of their results.
#[derive(Debug)]
pub(crate) struct HeadQueries<'a> {
    pub(crate) layout: HeadLayout,
    pub(crate) queries: Rows<'a>,
    /// All keys and values of the head, packed by [`HeadLayout::pack`].
    pub(crate) keys_values: &'a [f32],
    /// A row of `head_dim` values for each query.
    pub(crate) out: &'a mut [&'a mut [f32]],
}

impl HeadQueries<'_> {
    /// Computes softmax(queries · keysᵀ / √head_dim) · values on this thread.
    pub(crate) fn attend(&mut self, isa: Isa, scratch: &mut Scratch) {
        isa.run(TileShape::Square, Attend { head: self, scratch });
    }
}

struct Attend<'a, 'b> {
    head: &'b mut HeadQueries<'a>,
    scratch: &'b mut Scratch,
}

impl Kernel for Attend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let HeadQueries { layout, queries, keys_values, ref mut out } = *self.head;
        for (i, out) in out.chunks_mut(QUERY_TILES * ROWS).enumerate() {
            let queries = queries.after(i * QUERY_TILES * ROWS);
            attend::<S, ROWS, VECTORS>(simd, layout, queries, keys_values, out, self.scratch);
        }
    }
}

/// Attends with at most `QUERY_TILES` tiles of queries to all keys.
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
            // An additive bias of the scores, such as WavLM's gated relative position bias, belongs here, as a field of
            // `HeadQueries`: it is added to `groups` divided by `scale`, before the maxima are taken. Row r of this
            // tile is query `tile * ROWS + r` of `queries`, column k is key `first + k`.
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

/// Stores a tile of scores as groups of the next product's left operand, whose inner dimension is the keys.
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
                // Every value is overwritten.
                let mut packed = vec![f32::NAN; layout.size()];
                layout.pack(&qkv, 3 * dim, [dim, 2 * dim], &mut packed);
                let mut out = vec![0.0; frames * dim];
                let mut head = HeadQueries {
                    layout,
                    queries: Rows::new(&qkv, 3 * dim),
                    keys_values: &packed,
                    out: &mut out.chunks_mut(dim).collect::<Vec<_>>(),
                };
                head.attend(isa, &mut Scratch::default());
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
    fn nan_reaches_the_result() {
        let (frames, dim) = (40, 16);
        let mut qkv: Vec<f32> = (0..frames * 3 * dim).map(|i| (i % 11) as f32).collect();
        qkv[20 * 3 * dim + dim] = f32::NAN;
        for isa in Isa::available() {
            let layout = HeadLayout::new(isa, frames, dim);
            let mut packed = vec![0.0; layout.size()];
            layout.pack(&qkv, 3 * dim, [dim, 2 * dim], &mut packed);
            let mut out = vec![0.0; dim];
            let queries = Rows::new(&qkv, 3 * dim);
            let mut head = HeadQueries { layout, queries, keys_values: &packed, out: &mut [&mut out] };
            head.attend(isa, &mut Scratch::default());
            assert!(out.iter().all(|v| v.is_nan()), "{isa:?}: {out:?}");
        }
    }
}
