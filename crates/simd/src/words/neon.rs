//! The products of words with ARM's instructions: `bfmmla` (FEAT_BF16) and `smmla` (FEAT_I8MM), which multiply two words of two
//! rows with two words of two columns, and `sdot` (FEAT_DotProd), which multiplies one word of a row with a register of words.
//!
//! Their intrinsics are not stable, so that the instructions are assembly.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop, unsafe_code)]

use std::arch::aarch64::*;
use std::arch::asm;

use pulp::{f32x4, u32x4};

use super::WordGroup;
use crate::buffer::LINE;

/// Words in a register.
const LANES: usize = 4;

/// Writes the sums of a tile of bf16 numbers to `sums`, row by row. The words of `right` are in pairs, and the processor has the
/// instruction, as [`super::Bf16Product::detect`] found.
pub(super) fn bf16<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    sums: &mut [f32x4],
) {
    let blocks = blocks::<_, ROWS, VECTORS>(left, right, f32x4(0.0, 0.0, 0.0, 0.0), bfmmla);
    store(&blocks, sums);
}

/// Writes the sums of a tile of 8-bit integers to `sums`, row by row. The words of `right` are in pairs, and the processor has the
/// instruction, as [`super::Int8Product::detect`] found.
pub(super) fn int8_blocks<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    sums: &mut [f32x4],
) {
    // SAFETY: NEON is part of every 64-bit ARM processor.
    let blocks = blocks::<_, ROWS, VECTORS>(left, right, unsafe { vdupq_n_s32(0) }, smmla);
    // SAFETY: as above.
    store(&blocks.map(|row| row.map(|sums| pulp::cast(unsafe { vcvtq_f32_s32(sums) }))), sums);
}

/// Sums blocks of two rows by two columns with `multiply`, a register of four sums each. Rows 2i and 2i + 1 of the result hold the
/// blocks of these two rows of the tile: the first those of the first two columns of every four, the second those of the last two.
#[inline(always)]
fn blocks<T: Copy, const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    zero: T,
    multiply: impl Fn(T, uint32x4_t, u32x4) -> T,
) -> [[T; VECTORS]; ROWS] {
    // Tiles with an odd number of rows are those of instruction sets that have no such instruction.
    debug_assert!(ROWS.is_multiple_of(2));
    let mut sums = [[zero; VECTORS]; ROWS];
    for (left, right) in left.iter().zip(groups::<VECTORS>(right)) {
        for step in 0..LINE / 2 {
            let mut pairs = [pulp::cast([0u32; LANES]); ROWS];
            for rows in 0..ROWS / 2 {
                pairs[rows] = pair(&left[2 * rows], &left[2 * rows + 1], step);
            }
            for register in 0..2 * VECTORS {
                let right = right[2 * step + register / VECTORS][register % VECTORS];
                for rows in 0..ROWS / 2 {
                    let sum = &mut sums[2 * rows + register % 2][register / 2];
                    *sum = multiply(*sum, pairs[rows], right);
                }
            }
        }
    }
    sums
}

/// The words 2 · `step` and 2 · `step` + 1 of two rows.
#[inline(always)]
fn pair(even: &[u32; LINE], odd: &[u32; LINE], step: usize) -> uint32x4_t {
    let pair = |line: &[u32; LINE]| [line[2 * step], line[2 * step + 1]];
    let ([a, b], [c, d]) = (pair(even), pair(odd));
    pulp::cast([a, b, c, d])
}

/// Writes blocks of two rows by two columns as rows.
#[inline(always)]
fn store<const ROWS: usize, const VECTORS: usize>(blocks: &[[f32x4; VECTORS]; ROWS], sums: &mut [f32x4]) {
    for rows in 0..ROWS / 2 {
        for vector in 0..VECTORS {
            let (first, last) = (pulp::cast(blocks[2 * rows][vector]), pulp::cast(blocks[2 * rows + 1][vector]));
            // SAFETY: NEON is part of every 64-bit ARM processor.
            let [even, odd] = unsafe { [vzip1q_u64(first, last), vzip2q_u64(first, last)] };
            sums[2 * rows * VECTORS + vector] = pulp::cast(even);
            sums[(2 * rows + 1) * VECTORS + vector] = pulp::cast(odd);
        }
    }
}

/// Writes the sums of a tile of 8-bit integers to `sums`, row by row. The processor has the instruction, as
/// [`super::Int8Product::detect`] found.
pub(super) fn int8_dots<const ROWS: usize, const VECTORS: usize>(
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

/// The sums of a block of two rows by two columns plus the products of two words of each row, `left`, with two of each column, `right`.
#[inline(always)]
fn bfmmla(sums: f32x4, left: uint32x4_t, right: u32x4) -> f32x4 {
    let (mut sums, right): (float32x4_t, uint32x4_t) = (pulp::cast(sums), pulp::cast(right));
    // SAFETY: registers only; the processor has the instruction.
    unsafe {
        asm!(
            ".arch_extension bf16",
            "bfmmla {sums:v}.4s, {left:v}.8h, {right:v}.8h",
            sums = inout(vreg) sums, left = in(vreg) left, right = in(vreg) right,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    pulp::cast(sums)
}

/// The sums of a block of two rows by two columns plus the products of two words of each row, `left`, with two of each column, `right`.
#[inline(always)]
fn smmla(mut sums: int32x4_t, left: uint32x4_t, right: u32x4) -> int32x4_t {
    let right: uint32x4_t = pulp::cast(right);
    // SAFETY: registers only; the processor has the instruction.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "smmla {sums:v}.4s, {left:v}.16b, {right:v}.16b",
            sums = inout(vreg) sums, left = in(vreg) left, right = in(vreg) right,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
