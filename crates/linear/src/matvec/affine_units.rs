//! Affine codes of 3, 5 and 6 bits, which lie across words: each lane takes the words of 32 codes.

// Loops over constants are unrolled, so that shifts and words are constants, too.
#![allow(clippy::needless_range_loop)]

use mert_simd::mul_add;
use pulp::Simd;

use super::{Format, Scratch};
use crate::decode::code;
use crate::linear::Linear;
use crate::prepared::Pair;
use crate::unroll::unroll;
use crate::vector::{MAX_LANES, load_floats, load_words, prefetch_ahead};

/// Codes of a lane. Every group is a whole number of them.
const UNIT: usize = 32;

/// Parts of a sum: the chain of additions to a single one is longer than what the processor looks ahead.
const PARTS: usize = 4;

/// Codes of `BITS` bits.
pub(super) struct Units<const BITS: usize>;

impl<const BITS: usize> Format for Units<BITS> {
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
        let lanes = S::F32_LANES;
        let shift = (groups.size / UNIT).trailing_zeros();
        let block_bytes = lanes * BITS * 4;
        let mut sums = [[simd.splat_f32s(0.0); M]; R];
        let (x, _) = S::as_simd_f32s(pair.values());
        for (block, x) in x.chunks_exact(UNIT * M).enumerate() {
            let (x, _) = x.as_chunks::<M>();
            for r in 0..R {
                let stored = &rows[r][block * block_bytes..];
                prefetch_ahead(&stored[..block_bytes.min(stored.len())], R * rows[r].len());
                let words = gather::<S, BITS>(stored);
                let mut parts = [[simd.splat_f32s(0.0); M]; PARTS];
                unroll!(slot < UNIT => {
                    let (code, x) = (code::<S, BITS, BITS>(simd, &words, slot), x[slot]);
                    for m in 0..M {
                        parts[slot % PARTS][m] = mul_add(simd, code, x[m], parts[slot % PARTS][m]);
                    }
                });
                let scales = unit_scales::<S>(groups.scales(r), block * lanes, shift);
                for m in 0..M {
                    let pairs = [simd.add_f32s(parts[0][m], parts[1][m]), simd.add_f32s(parts[2][m], parts[3][m])];
                    sums[r][m] = mul_add(simd, scales, simd.add_f32s(pairs[0], pairs[1]), sums[r][m]);
                }
            }
        }
        for r in 0..R {
            groups.add_biases(simd, r, pair, &mut sums[r]);
        }
        sums
    }
}

/// The words of as many units as there are lanes; zero beyond the end of the row.
#[inline(always)]
fn gather<S: Simd, const BITS: usize>(stored: &[u8]) -> [S::u32s; BITS] {
    let mut columns = [[0u32; MAX_LANES]; BITS];
    let units = stored.as_chunks::<4>().0.as_chunks::<BITS>().0;
    for (lane, unit) in units.iter().take(S::F32_LANES).enumerate() {
        for word in 0..BITS {
            columns[word][lane] = u32::from_le_bytes(unit[word]);
        }
    }
    columns.map(|column| load_words::<S>(bytemuck::cast_slice(&column)))
}

/// The scale of each lane's unit.
#[inline(always)]
fn unit_scales<S: Simd>(scales: &[f32], first_unit: usize, shift: u32) -> S::f32s {
    let mut lanes = [0.0; MAX_LANES];
    for (lane, value) in lanes[..S::F32_LANES].iter_mut().enumerate() {
        *value = scales.get((first_unit + lane) >> shift).copied().unwrap_or(0.0);
    }
    load_floats::<S>(&lanes)
}
