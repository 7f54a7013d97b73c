//! Scaled dot-product attention over all frames, without the matrix of scores.
//!
//! Queries are taken a few tiles at a time over blocks of keys, with a running softmax ([Dao et al.
//! 2022](https://arxiv.org/abs/2205.14135)), so that the scores never leave the cache and memory grows with the clip's
//! length and not with its square.

use mert_simd::{Bf16Product, Buffer, Factors, Kernel, LINE, TileShape, pack_bf16};
use pulp::Simd;

use super::super::arithmetic::Arithmetic;
use super::super::memory::Scratch;
use super::head_layout::HeadLayout;
use super::left_operand::Rows;
use super::math::Accuracy;
use super::operands::{Floats, Left, Operands, Right};
use super::position_bias::PositionBias;
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
    pub(crate) keys_values: &'a [u32],
    /// The bias of the scores of these queries.
    pub(crate) bias: Option<PositionBias<'a>>,
    /// A row of `head_dim` values for each query.
    pub(crate) out: &'a mut [&'a mut [f32]],
}

impl HeadQueries<'_> {
    /// Computes softmax(queries · keysᵀ / √head_dim + bias) · values on this thread.
    pub(crate) fn attend(&mut self, arithmetic: Arithmetic, scratch: &mut Scratch) {
        let (isa, shape) = (arithmetic.isa, TileShape::Square);
        let _prepared = arithmetic.prepare(self.layout.factors, isa.tile(shape).rows);
        match self.layout.factors {
            Factors::F32 => isa.run(shape, Attend { head: self, scratch, operands: Floats }),
            _ => isa.run(shape, Attend { head: self, scratch, operands: arithmetic.bf16 }),
        }
    }
}

struct Attend<'a, 'b, O> {
    head: &'b mut HeadQueries<'a>,
    scratch: &'b mut Scratch,
    operands: O,
}

impl<O: AttentionOperands> Kernel for Attend<'_, '_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let HeadQueries { layout, queries, keys_values, bias, ref mut out } = *self.head;
        for (i, out) in out.chunks_mut(QUERY_TILES * ROWS).enumerate() {
            let queries = queries.after(i * QUERY_TILES * ROWS);
            let bias = bias.map(|bias| bias.after(i * QUERY_TILES * ROWS));
            let head = (layout, queries, keys_values, bias);
            attend::<S, O, ROWS, VECTORS>(simd, self.operands, head, out, self.scratch);
        }
    }
}

/// Attends with at most `QUERY_TILES` tiles of queries to all keys.
#[inline(always)]
fn attend<S: Simd, O: AttentionOperands, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    operands: O,
    (layout, queries, keys_values, bias): (HeadLayout, Rows<'_>, &[u32], Option<PositionBias<'_>>),
    out: &mut [&mut [f32]],
    scratch: &mut Scratch,
) {
    let Scratch { gemm, b, c, left, words, .. } = scratch;
    let (keys, inner, panel, in_word) = (layout.keys(), layout.inner(), layout.panel, layout.factors.in_word());
    let tiles = out.len().div_ceil(ROWS);
    let (left, _) = operands.pack_left::<S, ROWS>(
        simd,
        queries,
        out.len(),
        (0, inner),
        layout.head_dim,
        left,
        &mut gemm.left_scales,
    );
    let scores = b.take(tiles * ROWS * KEY_BLOCK);
    let channels = layout.head_dim.next_multiple_of(panel);
    let sums = c.take(tiles * ROWS * channels);
    sums.fill(0.0);
    let scale = (layout.head_dim as f32).powf(-0.5);
    let gates = gates::<S, ROWS>(simd, bias, out.len());
    let mut softmax = [[RunningSoftmax::START; ROWS]; QUERY_TILES];
    let (packed_keys, packed_values) = keys_values.split_at(keys * inner);
    let mut products = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for first in (0..keys).step_by(KEY_BLOCK) {
        let block = KEY_BLOCK.min(keys - first);
        for (i, right) in packed_keys[first * inner..][..block * inner].chunks_exact(panel * inner).enumerate() {
            for tile in 0..tiles {
                let left = &left[tile * ROWS * inner..][..ROWS * inner];
                operands.multiply(simd, Left::plain(left), Right::plain(right), &[], &mut products);
                let scores = &mut scores[tile * ROWS * block + i * panel * ROWS..][..panel * ROWS];
                store_as_left::<S, ROWS, VECTORS>(&products, scores);
            }
        }
        for tile in 0..tiles {
            let scores = &mut scores[tile * ROWS * block..][..ROWS * block];
            let (groups, _) = scores.as_chunks_mut::<LINE>().0.as_chunks_mut::<ROWS>();
            if let Some(bias) = &bias {
                bias.add(simd, layout, &gates[tile], (tile * ROWS, first), groups);
            }
            if first + block > layout.frames {
                mask(groups, layout.frames - first);
            }
            let (softmax, _) = softmax[tile].as_chunks_mut::<SOFTMAX_ROWS>();
            for (i, softmax) in softmax.iter_mut().enumerate() {
                let corrections = exponentials(simd, softmax, groups, i * SOFTMAX_ROWS, scale, O::ACCURACY);
                let rows = sums[(tile * ROWS + i * SOFTMAX_ROWS) * channels..].chunks_exact_mut(channels);
                for (sums, correction) in rows.zip(corrections) {
                    if correction != 1.0 {
                        sums.iter_mut().for_each(|sum| *sum *= correction);
                    }
                }
            }
        }
        let weights = operands.weights::<S, ROWS>(simd, &mut scores[..tiles * ROWS * block], words);
        let block_words = block / in_word;
        for (i, values) in packed_values.chunks_exact(layout.key_words() * panel).enumerate() {
            let right = &values[first / in_word * panel..][..block_words * panel];
            for tile in 0..tiles {
                let left = &weights[tile * ROWS * block_words..][..ROWS * block_words];
                operands.multiply(simd, Left::plain(left), Right::plain(right), &[], &mut products);
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

/// The numbers that attention multiplies.
trait AttentionOperands: Operands {
    /// The accuracy that the softmax needs.
    const ACCURACY: Accuracy;

    /// The softmax's weights of tiles of queries as the left operand of the product with the values. `scores` holds them as
    /// groups of f32.
    fn weights<'a, S: Simd, const ROWS: usize>(
        self,
        simd: S,
        scores: &'a mut [f32],
        words: &'a mut Buffer<u32>,
    ) -> &'a [u32];
}

impl AttentionOperands for Floats {
    const ACCURACY: Accuracy = Accuracy::F32;

    #[inline(always)]
    fn weights<'a, S: Simd, const ROWS: usize>(self, _: S, scores: &'a mut [f32], _: &'a mut Buffer<u32>) -> &'a [u32] {
        bytemuck::cast_slice(scores)
    }
}

impl AttentionOperands for Bf16Product {
    const ACCURACY: Accuracy = Accuracy::Bf16;

    #[inline(always)]
    fn weights<'a, S: Simd, const ROWS: usize>(
        self,
        simd: S,
        scores: &'a mut [f32],
        words: &'a mut Buffer<u32>,
    ) -> &'a [u32] {
        let words = words.take(scores.len() / 2);
        let (pairs, _) = scores.as_chunks::<LINE>().0.as_chunks::<ROWS>().0.as_chunks::<2>();
        let (groups, _) = words.as_chunks_mut::<LINE>().0.as_chunks_mut::<ROWS>();
        for (group, [first, second]) in groups.iter_mut().zip(pairs) {
            for row in 0..ROWS {
                pack_bf16(simd, &first[row], &second[row], &mut group[row]);
            }
        }
        words
    }
}

/// The gates of the position bias of `count` queries, tile by tile.
#[inline(always)]
fn gates<S: Simd, const ROWS: usize>(
    simd: S,
    bias: Option<PositionBias<'_>>,
    count: usize,
) -> [[f32; ROWS]; QUERY_TILES] {
    let mut gates = [[0.0; ROWS]; QUERY_TILES];
    if let Some(bias) = bias {
        for (tile, gates) in gates.iter_mut().enumerate() {
            *gates = bias.gates(simd, tile * ROWS, count.saturating_sub(tile * ROWS));
        }
    }
    gates
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
    use mert_simd::Isa;

    use super::super::super::memory::PackedActivations;
    use super::super::pack::pack_tile;
    use super::super::position_bias::{self, Gate};
    use super::*;

    /// Each instruction set with each kind of numbers that attention multiplies, and how many times f32's error they have.
    fn arithmetics() -> impl Iterator<Item = (Arithmetic, f64)> {
        let kinds = [(Factors::F32, 1.0), (Factors::Bf16, 1500.0)];
        Isa::available().into_iter().flat_map(move |isa| kinds.map(|(f, times)| (Arithmetic::new(isa, f), times)))
    }

    /// Softmax attention of one head in f64, over rows of queries, keys and values, with a bias of each key's score.
    fn expected(qkv: &[f32], frames: usize, dim: usize, query: usize, bias: impl Fn(usize) -> f64) -> Vec<f64> {
        let at = |frame: usize, part: usize, c: usize| f64::from(qkv[frame * 3 * dim + part * dim + c]);
        let logits: Vec<f64> = (0..frames)
            .map(|key| (0..dim).map(|c| at(query, 0, c) * at(key, 1, c)).sum::<f64>() / (dim as f64).sqrt() + bias(key))
            .collect();
        let max = logits.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..dim).map(|c| (0..frames).map(|key| weights[key] / sum * at(key, 2, c)).sum()).collect()
    }

    #[test]
    fn agrees_with_the_definition_in_f64_across_blocks() {
        for (arithmetic, times) in arithmetics() {
            for (frames, dim) in [(1, 4), (7, 16), (31, 20), (KEY_BLOCK, 64), (2 * KEY_BLOCK + 45, 64)] {
                // The largest score comes last, so that every block rescales what came before.
                let value = |i: usize| ((i * 7919) % 997) as f32 / 250.0 - 2.0;
                let growth = |i: usize| 1.0 + (i / (3 * dim)) as f32 / frames as f32;
                let qkv: Vec<f32> = (0..frames * 3 * dim).map(|i| value(i) * growth(i)).collect();
                let layout = HeadLayout::new(arithmetic, frames, dim);
                // Every value is overwritten.
                let mut packed = vec![u32::MAX; layout.size()];
                layout.pack(arithmetic, &qkv, 3 * dim, [dim, 2 * dim], &mut packed);
                let mut out = vec![0.0; frames * dim];
                let mut head = HeadQueries {
                    layout,
                    queries: Rows::new(&qkv, 3 * dim),
                    keys_values: &packed,
                    bias: None,
                    out: &mut out.chunks_mut(dim).collect::<Vec<_>>(),
                };
                head.attend(arithmetic, &mut Scratch::default());
                for query in [0, frames / 2, frames.saturating_sub(2), frames - 1] {
                    for (got, expected) in out[query * dim..].iter().zip(expected(&qkv, frames, dim, query, |_| 0.0)) {
                        // Scores of up to 100 are exact to 1e-5 in f32, and so are their exponentials.
                        approx::assert_abs_diff_eq!(f64::from(*got), expected, epsilon = 3e-5 * times);
                    }
                }
            }
        }
    }

    /// The gated bias from the formula in f64, with a value for each distance and gates from rows of the attention's input.
    #[test]
    fn the_gated_bias_agrees_with_its_definition_in_f64() {
        let (heads, sums_bias, factor) = (3, [0.3, -0.7], 1.6);
        let value = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
        for (arithmetic, times) in arithmetics() {
            for (frames, dim) in [(1, 4), (31, 20), (200, 80), (2 * KEY_BLOCK + 45, 8)] {
                let width = heads * dim;
                let mut x: Vec<f32> = (0..frames * width).map(|i| 2.0 * value(i, 1)).collect();
                let mut packed_x = PackedActivations::default();
                let (isa, factors) = (arithmetic.isa, (arithmetic.factors, 0));
                packed_x.resize(isa.tile(TileShape::Wide), factors, frames, width);
                packed_x.fill_from(&mut x, |x, tile| pack_tile(isa, tile, x, width));
                let sums = [2, 3].map(|seed| (0..dim).map(|i| value(i, seed)).collect::<Vec<_>>());
                let biases: Vec<f32> = (0..2 * frames - 1).map(|i| 4.0 * value(i, 4)).collect();
                let qkv: Vec<f32> = (0..frames * 3 * dim).map(|i| value(i, 5)).collect();
                let layout = HeadLayout::new(arithmetic, frames, dim);
                let mut keys_values = vec![u32::MAX; layout.size()];
                layout.pack(arithmetic, &qkv, 3 * dim, [dim, 2 * dim], &mut keys_values);
                let mut by_distance = vec![f32::NAN; position_bias::size(layout)];
                position_bias::fill(layout, biases.iter().copied(), &mut by_distance);
                for head in [0, heads - 1] {
                    let gate = Gate::new(head * dim, [&sums[0], &sums[1]], sums_bias, factor);
                    // A task that begins inside the clip, on no multiple of a tile.
                    for query in [0, frames / 2] {
                        let bias =
                            PositionBias { gate: &gate, by_distance: &by_distance, x: &packed_x, row: query, query };
                        let mut out = vec![0.0; (frames - query) * dim];
                        let mut queries = HeadQueries {
                            layout,
                            queries: Rows::new(&qkv[query * 3 * dim..], 3 * dim),
                            keys_values: &keys_values,
                            bias: Some(bias),
                            out: &mut out.chunks_mut(dim).collect::<Vec<_>>(),
                        };
                        queries.attend(arithmetic, &mut Scratch::default());
                        for row in [0, (frames - query) / 3, frames - query - 1] {
                            let i = query + row;
                            let sum = |s: usize| {
                                let x = x[i * width + head * dim..].iter().zip(&sums[s]);
                                x.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>() + f64::from(sums_bias[s])
                            };
                            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                            let gate = sigmoid(sum(0)) * (sigmoid(sum(1)) * f64::from(factor) - 1.0) + 2.0;
                            let bias = |j: usize| gate * f64::from(biases[j + frames - 1 - i]);
                            let out = &out[row * dim..];
                            for (got, expected) in out.iter().zip(expected(&qkv, frames, dim, i, bias)) {
                                // Scores of up to 40 are exact to 4e-6 in f32, and so are their exponentials.
                                approx::assert_abs_diff_eq!(f64::from(*got), expected, epsilon = 1e-5 * times);
                            }
                        }
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
        for (arithmetic, _) in arithmetics() {
            let layout = HeadLayout::new(arithmetic, frames, dim);
            let mut packed = vec![0; layout.size()];
            layout.pack(arithmetic, &qkv, 3 * dim, [dim, 2 * dim], &mut packed);
            let mut out = vec![0.0; dim];
            let queries = Rows::new(&qkv, 3 * dim);
            let mut head = HeadQueries { layout, queries, keys_values: &packed, bias: None, out: &mut [&mut out] };
            head.attend(arithmetic, &mut Scratch::default());
            assert!(out.iter().all(|v| v.is_nan()), "{arithmetic:?}: {out:?}");
        }
    }
}
