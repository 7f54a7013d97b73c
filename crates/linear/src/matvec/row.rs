//! Rows of a weight in registers of words, and a block of them with the activations that belong to it.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::mul_add;
use pulp::Simd;

use super::codes::Codes;
use crate::prepared::Pair;
use crate::unroll::unroll;
use crate::vector::{load_words, prefetch_ahead, register_bytes};

/// Register `block` of each row; prefetches what the next tile has at its place.
#[inline(always)]
pub(super) fn load_all<S: Simd, const R: usize>(rows: &[&[u8]; R], block: usize) -> [S::u32s; R] {
    let bytes = register_bytes::<S>();
    std::array::from_fn(|r| {
        let stored = &rows[r][block * bytes..block * bytes + bytes];
        prefetch_ahead(stored, R * rows[r].len());
        bytemuck::pod_read_unaligned(stored)
    })
}

/// The words after the last whole register of each row, filled up with zeros.
#[inline(always)]
pub(super) fn load_last<S: Simd, const R: usize>(rows: &[&[u8]; R], block: usize) -> [S::u32s; R] {
    std::array::from_fn(|r| load_words::<S>(&rows[r][block * register_bytes::<S>()..]))
}

/// The activations for each whole register of words of a row, `[slot][row]`; and for those after the last, with the number
/// of that register.
#[inline(always)]
#[allow(clippy::type_complexity)]
pub(super) fn blocks<'a, S: Simd, C: Codes, const M: usize>(
    pair: &'a Pair,
    row: &[u8],
) -> (std::slice::ChunksExact<'a, S::f32s>, Option<(usize, &'a [S::f32s])>) {
    let (x, _) = S::as_simd_f32s(pair.values());
    let whole = row.len() / register_bytes::<S>();
    let (x, last) = x.split_at(whole * C::SLOTS * M);
    (x.chunks_exact(C::SLOTS * M), (!last.is_empty()).then_some((whole, last)))
}

/// The sums of a block of `R` rows of the weight with `M` rows of activations. Each sum is taken in a few parts: the chain
/// of additions to a single one is longer than what the processor looks ahead.
#[inline(always)]
pub(super) fn block_sums<S: Simd, C: Codes, const R: usize, const M: usize>(
    simd: S,
    words: &[S::u32s; R],
    x: &[S::f32s],
) -> [[S::f32s; M]; R] {
    let (x, _) = x.as_chunks::<M>();
    // With 16 lanes there is one such operation in a cycle, for which the chains of the rows are enough.
    let parts = if S::F32_LANES >= 16 { 1 } else { (C::SLOTS / CHAIN).clamp(1, MAX_PARTS) };
    let mut sums = [[[simd.splat_f32s(0.0); M]; R]; MAX_PARTS];
    unroll!(slot < C::SLOTS => {
        let (x, part) = (x[slot], slot % parts);
        for r in 0..R {
            let value = C::value(simd, words[r], slot);
            for m in 0..M {
                sums[part][r][m] = match slot < parts {
                    true => simd.mul_f32s(value, x[m]),
                    false => mul_add(simd, value, x[m], sums[part][r][m]),
                };
            }
        }
    });
    let mut total = sums[0];
    for r in 0..R {
        for m in 0..M {
            if parts == 2 {
                total[r][m] = simd.add_f32s(sums[0][r][m], sums[1][r][m]);
            } else if parts == 4 {
                let pairs = [simd.add_f32s(sums[0][r][m], sums[1][r][m]), simd.add_f32s(sums[2][r][m], sums[3][r][m])];
                total[r][m] = simd.add_f32s(pairs[0], pairs[1]);
            }
        }
    }
    total
}

/// Products that are added to a part of a sum one after another.
const CHAIN: usize = 4;

/// Parts of a sum at most.
const MAX_PARTS: usize = 4;

/// Adds a block of `R` rows of the weight with `M` rows of activations.
#[inline(always)]
pub(super) fn add_block<S: Simd, C: Codes, const R: usize, const M: usize>(
    simd: S,
    words: &[S::u32s; R],
    x: &[S::f32s],
    sums: &mut [[S::f32s; M]; R],
) {
    let (x, _) = x.as_chunks::<M>();
    unroll!(slot < C::SLOTS => {
        let x = x[slot];
        for r in 0..R {
            let value = C::value(simd, words[r], slot);
            for m in 0..M {
                sums[r][m] = mul_add(simd, value, x[m], sums[r][m]);
            }
        }
    });
}
