//! The products of words with ARM's dot products: `bfdot` (FEAT_BF16) and `sdot` (FEAT_DotProd), both by element: one word of
//! the left operand with a register of words of the right one.
//!
//! Their intrinsics are not stable, so that the instructions are assembly. `bfmmla` and `smmla` multiply twice as much in an
//! instruction, but two rows by two columns at a time: they would need operands in another order.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop, unsafe_code)]

use std::arch::aarch64::*;
use std::arch::asm;

use pulp::{f32x4, u32x4};

use super::WordGroup;
use crate::buffer::LINE;

/// Words in a register.
const LANES: usize = 4;

/// Writes the sums of a tile of bf16 numbers to `sums`, row by row. The processor has the instruction, as
/// [`super::Bf16Product::detect`] found.
pub(super) fn bf16<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    sums: &mut [f32x4],
) {
    let mut totals = [[f32x4(0.0, 0.0, 0.0, 0.0); VECTORS]; ROWS];
    for (left, right) in left.iter().zip(groups::<VECTORS>(right)) {
        for quarter in 0..LINE / LANES {
            for row in 0..ROWS {
                let words: &[u32; LANES] = left[row][quarter * LANES..].first_chunk().unwrap_or(&[0; LANES]);
                let x: uint32x4_t = pulp::cast(*words);
                for vector in 0..VECTORS {
                    let sum = &mut totals[row][vector];
                    *sum = bfdot::<0>(*sum, right[quarter * LANES][vector], x);
                    *sum = bfdot::<1>(*sum, right[quarter * LANES + 1][vector], x);
                    *sum = bfdot::<2>(*sum, right[quarter * LANES + 2][vector], x);
                    *sum = bfdot::<3>(*sum, right[quarter * LANES + 3][vector], x);
                }
            }
        }
    }
    for (sums, totals) in sums.chunks_exact_mut(VECTORS).zip(&totals) {
        sums.copy_from_slice(totals);
    }
}

/// Writes the sums of a tile of 8-bit integers to `sums`, row by row. The processor has the instruction, as
/// [`super::Int8Product::detect`] found.
pub(super) fn int8<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    sums: &mut [f32x4],
) {
    // SAFETY: NEON is part of every 64-bit ARM processor.
    let mut totals = [[unsafe { vdupq_n_s32(0) }; VECTORS]; ROWS];
    for (left, right) in left.iter().zip(groups::<VECTORS>(right)) {
        for quarter in 0..LINE / LANES {
            for row in 0..ROWS {
                let words: &[u32; LANES] = left[row][quarter * LANES..].first_chunk().unwrap_or(&[0; LANES]);
                let x: uint32x4_t = pulp::cast(*words);
                for vector in 0..VECTORS {
                    let sum = &mut totals[row][vector];
                    *sum = sdot::<0>(*sum, right[quarter * LANES][vector], x);
                    *sum = sdot::<1>(*sum, right[quarter * LANES + 1][vector], x);
                    *sum = sdot::<2>(*sum, right[quarter * LANES + 2][vector], x);
                    *sum = sdot::<3>(*sum, right[quarter * LANES + 3][vector], x);
                }
            }
        }
    }
    for (sums, totals) in sums.chunks_exact_mut(VECTORS).zip(&totals) {
        for (sum, total) in sums.iter_mut().zip(totals) {
            // SAFETY: as above.
            *sum = pulp::cast(unsafe { vcvtq_f32_s32(*total) });
        }
    }
}

fn groups<const VECTORS: usize>(right: &[u32]) -> &[[[u32x4; VECTORS]; LINE]] {
    bytemuck::cast_slice::<u32, u32x4>(right).as_chunks::<VECTORS>().0.as_chunks().0
}

/// The sums plus the products of the words of `right` with word `WORD` of `left`.
#[inline(always)]
fn bfdot<const WORD: usize>(sums: f32x4, right: u32x4, left: uint32x4_t) -> f32x4 {
    let (mut sums, right): (float32x4_t, uint32x4_t) = (pulp::cast(sums), pulp::cast(right));
    // SAFETY: registers only; the processor has the instruction.
    unsafe {
        asm!(
            ".arch_extension bf16",
            "bfdot {sums:v}.4s, {right:v}.8h, {left:v}.2h[{word}]",
            sums = inout(vreg) sums, right = in(vreg) right, left = in(vreg) left, word = const WORD,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    pulp::cast(sums)
}

/// The sums plus the products of the words of `right` with word `WORD` of `left`.
#[inline(always)]
fn sdot<const WORD: usize>(mut sums: int32x4_t, right: u32x4, left: uint32x4_t) -> int32x4_t {
    let right: uint32x4_t = pulp::cast(right);
    // SAFETY: registers only; the processor has the instruction.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {right:v}.16b, {left:v}.4b[{word}]",
            sums = inout(vreg) sums, right = in(vreg) right, left = in(vreg) left, word = const WORD,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
