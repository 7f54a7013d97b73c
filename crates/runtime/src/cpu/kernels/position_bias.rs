//! The gated relative position bias, added to blocks of attention scores.

// Only constant indices keep the gates in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::{Buffer, LINE, mul_add};
use pulp::Simd;

use super::super::memory::PackedActivations;
use super::head_layout::HeadLayout;

/// Room before the first distance, for the rows that fill up the last tile of queries. No tile has more rows.
const BEFORE: usize = LINE;

/// The gate of one head: the two sums of its projection, and its factor. [`mert_arch::PositionBias`] has the formula.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The weights of the sums a and b, `[a, b]` for each line of the attention's input that holds channels of the head.
    /// They are 0 for the channels of other heads.
    weights: Buffer,
    first_line: usize,
    bias: [f32; 2],
    factor: f32,
}

/// The bias of one head's scores for some queries. Before its gates it depends on the distance key − query only, so that one
/// value for each distance stands for the matrix, and the row of a query is a piece of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PositionBias<'a> {
    pub(crate) gate: &'a Gate,
    /// The values of the head by distance, written by [`fill`].
    pub(crate) by_distance: &'a [f32],
    /// The input of the attention.
    pub(crate) x: &'a PackedActivations,
    /// The row of `x` of the first query, and the first query within its clip.
    pub(crate) row: usize,
    pub(crate) query: usize,
}

/// The number of values that the biases of one head take.
pub(crate) fn size(layout: HeadLayout) -> usize {
    (BEFORE + layout.frames + layout.keys()).next_multiple_of(LINE)
}

/// Writes the biases of one head, `bias` of each distance key − query from −(frames − 1) on, in units of the scores before
/// they are scaled by 1/√head_dim.
pub(crate) fn fill(layout: HeadLayout, bias: impl Iterator<Item = f32>, by_distance: &mut [f32]) {
    let unscaled = (layout.head_dim as f32).sqrt();
    for (value, bias) in by_distance[BEFORE..].iter_mut().zip(bias) {
        *value = bias * unscaled;
    }
}

impl Gate {
    /// Takes the weights of the sums a and b of a head whose first channel is `channel`.
    pub(crate) fn new(channel: usize, sums: [&[f32]; 2], bias: [f32; 2], factor: f32) -> Self {
        let (first_line, start) = (channel / LINE, channel % LINE);
        let mut weights = Buffer::zeroed(2 * (start + sums[0].len()).next_multiple_of(LINE));
        for (i, sum) in sums.iter().enumerate() {
            for (channel, &weight) in (start..).zip(*sum) {
                weights[(channel / LINE * 2 + i) * LINE + channel % LINE] = weight;
            }
        }
        Gate { weights, first_line, bias, factor }
    }

    /// The gate σ(a)·(σ(b)·factor − 1) + 2 of a row of the attention's input.
    #[inline(always)]
    fn value<S: Simd>(&self, simd: S, x: &PackedActivations, row: usize) -> f32 {
        let mut sums = [simd.splat_f32s(0.0); 2];
        let (weights, _) = self.weights.as_chunks::<LINE>();
        let (weights, _) = weights.as_chunks::<2>();
        for (line, weights) in x.lines(row).skip(self.first_line).zip(weights) {
            let (line, _) = S::as_simd_f32s(&line);
            for i in 0..2 {
                let (weights, _) = S::as_simd_f32s(&weights[i]);
                for (&x, &weight) in line.iter().zip(weights) {
                    sums[i] = mul_add(simd, x, weight, sums[i]);
                }
            }
        }
        let a = simd.reduce_sum_f32s(sums[0]) + self.bias[0];
        let b = simd.reduce_sum_f32s(sums[1]) + self.bias[1];
        sigmoid(a) * (sigmoid(b) * self.factor - 1.0) + 2.0
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl PositionBias<'_> {
    /// The bias for the queries from `query` on.
    #[inline(always)]
    pub(super) fn after(self, query: usize) -> Self {
        PositionBias { row: self.row + query, query: self.query + query, ..self }
    }

    /// The gates of the `count` queries from `query` on, the other rows of whose tile are 0.
    #[inline(always)]
    pub(super) fn gates<S: Simd, const ROWS: usize>(&self, simd: S, query: usize, count: usize) -> [f32; ROWS] {
        let mut gates = [0.0; ROWS];
        for (i, gate) in gates.iter_mut().take(count).enumerate() {
            *gate = self.gate.value(simd, self.x, self.row + query + i);
        }
        gates
    }

    /// Adds the gated bias to the scores of a tile of queries from `query` on, and a block of keys from `key` on.
    #[inline(always)]
    pub(super) fn add<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        layout: HeadLayout,
        gates: &[f32; ROWS],
        (query, key): (usize, usize),
        scores: &mut [[[f32; LINE]; ROWS]],
    ) {
        // From the first key of the last row on; each row above it begins one value later.
        let first = BEFORE + layout.frames + key - (self.query + query + ROWS);
        let by_distance = &self.by_distance[first..];
        for (i, group) in scores.iter_mut().enumerate() {
            let by_distance = &by_distance[i * LINE..][..LINE + ROWS - 1];
            for row in 0..ROWS {
                let gate = simd.splat_f32s(gates[row]);
                let (scores, _) = S::as_mut_simd_f32s(&mut group[row]);
                let (biases, _) = S::as_simd_f32s(&by_distance[ROWS - 1 - row..][..LINE]);
                for (score, &bias) in scores.iter_mut().zip(biases) {
                    *score = mul_add(simd, gate, bias, *score);
                }
            }
        }
    }
}
