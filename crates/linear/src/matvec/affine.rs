//! Affine codes of 2, 4 and 8 bits: Σ (s·q + b)·x = s·Σ q·x + b·Σ x for each group, with Σ x computed once for all rows.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;

use mert_simd::{Buffer, mul_add};
use pulp::Simd;

use super::Format;
use super::codes::Codes;
use super::row::{block_sums, blocks, load_all, load_last};
use crate::linear::Linear;
use crate::prepared::Pair;
use crate::vector::{MAX_LANES, load_floats, load_words, widen_with};

/// Scales and biases of the rows of a tile in f32.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    scales: Buffer,
    biases: Buffer,
}

/// The scales and biases of some rows, `[row][group]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Groups<'a> {
    scales: &'a [f32],
    biases: &'a [f32],
    /// Groups of a row.
    count: usize,
    /// Values of a group.
    pub(super) size: usize,
}

impl Scratch {
    /// The scales and biases of `rows` rows from row `first` on.
    #[inline(always)]
    pub(super) fn widen<S: Simd>(&mut self, simd: S, linear: &Linear, first: usize, rows: usize) -> Groups<'_> {
        let (dtype, scales, biases) = linear.group_floats(first, rows);
        let count = scales.len() / (dtype.size() * rows);
        let (scales_f32, biases_f32) = (self.scales.take(rows * count), self.biases.take(rows * count));
        widen_with(simd, dtype, scales, scales_f32);
        widen_with(simd, dtype, biases, biases_f32);
        let size = linear.inputs() / count.max(1);
        Groups { scales: scales_f32, biases: biases_f32, count, size }
    }
}

impl<'a> Groups<'a> {
    #[inline(always)]
    pub(super) fn scales(&self, row: usize) -> &'a [f32] {
        &self.scales[row * self.count..][..self.count]
    }

    /// Adds Σ bias·(Σ x) of a row to the sums with `M` rows of activations.
    #[inline(always)]
    pub(super) fn add_biases<S: Simd, const M: usize>(
        &self,
        simd: S,
        row: usize,
        pair: &Pair,
        sums: &mut [S::f32s; M],
    ) {
        let biases = &self.biases[row * self.count..][..self.count];
        for (block, biases) in biases.chunks(S::F32_LANES).enumerate() {
            let biases = load_floats::<S>(biases);
            for m in 0..M {
                let x = load_floats::<S>(&pair.sums[m * pair.sums_stride + block * S::F32_LANES..]);
                sums[m] = mul_add(simd, biases, x, sums[m]);
            }
        }
    }
}

/// Codes with so many groups in a register of words: 1, 2, or more.
pub(super) struct Affine<C, const GROUPS: usize>(PhantomData<C>);

impl<C: Codes, const GROUPS: usize> Format for Affine<C, GROUPS> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const M: usize>(
        simd: S,
        linear: &Linear,
        row: usize,
        pair: &Pair,
        scratch: &mut Scratch,
    ) -> [[S::f32s; M]; R] {
        let rows = linear.rows::<R>(row);
        let groups = scratch.widen(simd, linear, row, R);
        let words_per_group = groups.size / C::SLOTS;
        // A division would take longer than the rest of a block.
        let shift = words_per_group.trailing_zeros();
        let spread = Spread::<S, GROUPS>::new(simd, words_per_group);
        let mut sums = [[simd.splat_f32s(0.0); M]; R];
        let (x, last) = blocks::<S, C, M>(pair, rows[0]);
        for (block, x) in x.enumerate() {
            let words = load_all::<S, R>(&rows, block);
            let group = (block * S::F32_LANES) >> shift;
            scaled::<S, C, GROUPS, R, M>(simd, &words, x, groups, group, spread, &mut sums);
        }
        if let Some((block, x)) = last {
            let words = load_last::<S, R>(&rows, block);
            let group = (block * S::F32_LANES) >> shift;
            scaled::<S, C, GROUPS, R, M>(simd, &words, x, groups, group, spread, &mut sums);
        }
        for r in 0..R {
            groups.add_biases(simd, r, pair, &mut sums[r]);
        }
        sums
    }
}

/// Adds a block of rows, each lane times the scale of its group.
#[inline(always)]
fn scaled<S: Simd, C: Codes, const GROUPS: usize, const R: usize, const M: usize>(
    simd: S,
    words: &[S::u32s; R],
    x: &[S::f32s],
    groups: Groups<'_>,
    group: usize,
    spread: Spread<S, GROUPS>,
    sums: &mut [[S::f32s; M]; R],
) {
    // Before the sums: with its branches after them, the compiler moves each row's sums there and loads x for each row.
    let mut scales = [simd.splat_f32s(0.0); R];
    for r in 0..R {
        scales[r] = spread.scales(simd, &groups.scales(r)[group..]);
    }
    let parts = block_sums::<S, C, R, M>(simd, words, x);
    for r in 0..R {
        for m in 0..M {
            sums[r][m] = mul_add(simd, scales[r], parts[r][m], sums[r][m]);
        }
    }
}

/// The scales of the lanes of a register of words.
#[derive(Clone, Copy)]
struct Spread<S: Simd, const GROUPS: usize> {
    words_per_group: usize,
    /// The lanes of the first of two groups.
    is_first: S::m32s,
}

impl<S: Simd, const GROUPS: usize> Spread<S, GROUPS> {
    #[inline(always)]
    fn new(simd: S, words_per_group: usize) -> Self {
        let lanes: [u32; MAX_LANES] = std::array::from_fn(|lane| lane as u32);
        let lanes = load_words::<S>(bytemuck::cast_slice(&lanes));
        let is_first = simd.less_than_u32s(lanes, simd.splat_u32s(words_per_group as u32));
        Spread { words_per_group, is_first }
    }

    /// `scales` starts with the group of the first lane. Lanes beyond its end have no words.
    #[inline(always)]
    fn scales(self, simd: S, scales: &[f32]) -> S::f32s {
        match (GROUPS, scales) {
            (2, &[first, second, ..]) => {
                simd.select_f32s(self.is_first, simd.splat_f32s(first), simd.splat_f32s(second))
            }
            (1 | 2, _) => simd.splat_f32s(scales.first().copied().unwrap_or(0.0)),
            _ => {
                let mut lanes = [0.0; MAX_LANES];
                for (lanes, &scale) in lanes[..S::F32_LANES].chunks_exact_mut(self.words_per_group).zip(scales) {
                    lanes.fill(scale);
                }
                load_floats::<S>(&lanes)
            }
        }
    }
}
