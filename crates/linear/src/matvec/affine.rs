//! Affine codes of 2, 4 and 8 bits: Σ (s·q + b)·x = s·Σ q·x + b·Σ x for each group, with Σ x computed once for all rows.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::{Buffer, mul_add};
use pulp::Simd;

use super::codes::Codes;
use super::float::Row;
use crate::linear::Linear;
use crate::prepared::Pair;
use crate::vector::{load_floats, load_words, prefetch, register_bytes, widen};

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
}

impl Scratch {
    /// The scales and biases of `rows` rows from row `first` on.
    pub(super) fn widen(&mut self, linear: &Linear, first: usize, rows: usize) -> Groups<'_> {
        let (dtype, scales, biases) = linear.group_floats(first, rows);
        let count = scales.len() / (dtype.size() * rows);
        let (scales_f32, biases_f32) = (self.scales.take(rows * count), self.biases.take(rows * count));
        widen(dtype, scales, scales_f32);
        widen(dtype, biases, biases_f32);
        Groups { scales: scales_f32, biases: biases_f32, count }
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

/// The sums of `R` rows of the weight with `M` rows of activations, over the lanes yet to be added.
#[inline(always)]
pub(super) fn tile<S: Simd, C: Codes, const R: usize, const M: usize>(
    simd: S,
    rows: &[Row<'_>; R],
    groups: Groups<'_>,
    group_size: usize,
    pair: &Pair,
) -> [[S::f32s; M]; R] {
    let words_per_group = group_size / C::SLOTS;
    match S::F32_LANES / words_per_group {
        0 | 1 => scaled::<S, C, Whole, R, M>(simd, rows, groups, words_per_group, pair),
        2 => scaled::<S, C, Halves<S>, R, M>(simd, rows, groups, words_per_group, pair),
        _ => scaled::<S, C, Parts, R, M>(simd, rows, groups, words_per_group, pair),
    }
}

/// The scales of the lanes of a register of words.
trait Spread<S: Simd>: Copy {
    fn new(simd: S, words_per_group: usize) -> Self;

    /// `scales` starts with the group of the first lane.
    fn scales(self, simd: S, scales: &[f32]) -> S::f32s;
}

/// All lanes belong to one group.
#[derive(Clone, Copy)]
struct Whole;

impl<S: Simd> Spread<S> for Whole {
    #[inline(always)]
    fn new(_: S, _: usize) -> Self {
        Whole
    }

    #[inline(always)]
    fn scales(self, simd: S, scales: &[f32]) -> S::f32s {
        simd.splat_f32s(scales.first().copied().unwrap_or(0.0))
    }
}

/// The lanes belong to two groups.
#[derive(Clone, Copy)]
struct Halves<S: Simd> {
    is_first: S::m32s,
}

impl<S: Simd> Spread<S> for Halves<S> {
    #[inline(always)]
    fn new(simd: S, words_per_group: usize) -> Self {
        let mut lanes = [0u32; crate::vector::MAX_LANES];
        lanes.iter_mut().zip(0..).for_each(|(lane, i)| *lane = i);
        let lanes = load_words::<S>(bytemuck::cast_slice(&lanes));
        Halves { is_first: simd.less_than_u32s(lanes, simd.splat_u32s(words_per_group as u32)) }
    }

    #[inline(always)]
    fn scales(self, simd: S, scales: &[f32]) -> S::f32s {
        match *scales {
            [first, second, ..] => simd.select_f32s(self.is_first, simd.splat_f32s(first), simd.splat_f32s(second)),
            // The lanes beyond the row have no words.
            _ => <Whole as Spread<S>>::scales(Whole, simd, scales),
        }
    }
}

/// The lanes belong to more groups.
#[derive(Clone, Copy)]
struct Parts {
    words_per_group: usize,
}

impl<S: Simd> Spread<S> for Parts {
    #[inline(always)]
    fn new(_: S, words_per_group: usize) -> Self {
        Parts { words_per_group }
    }

    #[inline(always)]
    fn scales(self, _: S, scales: &[f32]) -> S::f32s {
        let mut lanes = [0.0; crate::vector::MAX_LANES];
        for (lanes, &scale) in lanes[..S::F32_LANES].chunks_exact_mut(self.words_per_group).zip(scales) {
            lanes.fill(scale);
        }
        load_floats::<S>(&lanes)
    }
}

#[inline(always)]
fn scaled<S: Simd, C: Codes, P: Spread<S>, const R: usize, const M: usize>(
    simd: S,
    rows: &[Row<'_>; R],
    groups: Groups<'_>,
    words_per_group: usize,
    pair: &Pair,
) -> [[S::f32s; M]; R] {
    let (lanes, bytes) = (S::F32_LANES, register_bytes::<S>());
    let spread = P::new(simd, words_per_group);
    let mut sums = [[simd.splat_f32s(0.0); M]; R];
    for (block, x) in pair.values().chunks_exact(C::SLOTS * M * lanes).enumerate() {
        let mut words = [simd.splat_u32s(0); R];
        for r in 0..R {
            words[r] = load_words::<S>(&rows[r].words[block * bytes..]);
            prefetch(rows[r].ahead(block * bytes, bytes));
        }
        let mut parts = [[simd.splat_f32s(0.0); M]; R];
        for slot in 0..C::SLOTS {
            let mut values = [simd.splat_f32s(0.0); M];
            for m in 0..M {
                values[m] = load_floats::<S>(&x[(slot * M + m) * lanes..]);
            }
            for r in 0..R {
                let code = C::value(simd, words[r], slot);
                for m in 0..M {
                    parts[r][m] = mul_add(simd, code, values[m], parts[r][m]);
                }
            }
        }
        let group = block * lanes / words_per_group;
        for r in 0..R {
            let scales = spread.scales(simd, &groups.scales(r)[group..]);
            for m in 0..M {
                sums[r][m] = mul_add(simd, scales, parts[r][m], sums[r][m]);
            }
        }
    }
    for r in 0..R {
        groups.add_biases(simd, r, pair, &mut sums[r]);
    }
    sums
}
