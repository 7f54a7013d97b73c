//! The products of words with AVX-512's dot products: `vdpbf16ps` and `vpdpbusd`.
//!
//! They are functions of their own, called once for each tile: the code around them is compiled for processors without these
//! instructions, too, so that they cannot be inlined into it.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop, unsafe_code)]

use std::arch::x86_64::*;

use pulp::{f32x16, u32x16};

use super::{Int8Columns, Int8Rows, WordGroup};
use crate::buffer::LINE;
use crate::microkernel::{parts, prefetch_part};

/// The right operand's words for each word of a left row, by the line.
type RightGroup<const VECTORS: usize> = [[u32x16; VECTORS]; LINE];

/// Writes the sums of a tile of bf16 numbers to `sums`, row by row. The processor has the instructions, as
/// [`super::Bf16Product::detect`] found.
pub(super) fn bf16<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    // SAFETY: the processor has the instructions.
    unsafe { bf16_available::<ROWS, VECTORS>(left, groups(right), ahead, sums) }
}

/// Writes the scaled sums of a tile of 8-bit integers to `sums`, row by row. The processor has the instructions, as
/// [`super::Int8Product::detect`] found.
pub(super) fn int8<const ROWS: usize, const VECTORS: usize>(
    left: Int8Rows<'_, ROWS>,
    right: Int8Columns<'_>,
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    // SAFETY: the processor has the instructions.
    unsafe { int8_available::<ROWS, VECTORS>(left, right, ahead, sums) }
}

fn groups<const VECTORS: usize>(right: &[u32]) -> &[RightGroup<VECTORS>] {
    bytemuck::cast_slice::<u32, u32x16>(right).as_chunks::<VECTORS>().0.as_chunks().0
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16_available<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[RightGroup<VECTORS>],
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    let mut ahead = parts(ahead, left.len());
    let mut totals = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for (left, right) in left.iter().zip(right) {
        prefetch_part(ahead.next());
        for step in 0..LINE {
            for row in 0..ROWS {
                let x: __m512bh = pulp::cast(_mm512_set1_epi32(left[row][step] as i32));
                for vector in 0..VECTORS {
                    totals[row][vector] = _mm512_dpbf16_ps(totals[row][vector], x, pulp::cast(right[step][vector]));
                }
            }
        }
    }
    for (row, sums) in sums.chunks_exact_mut(VECTORS).take(ROWS).enumerate() {
        for vector in 0..VECTORS {
            sums[vector] = pulp::cast(totals[row][vector]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn int8_available<const ROWS: usize, const VECTORS: usize>(
    left: Int8Rows<'_, ROWS>,
    right: Int8Columns<'_>,
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    let mut ahead = parts(ahead, left.words.len());
    let column_sums = &bytemuck::cast_slice::<f32, f32x16>(right.sums)[..VECTORS];
    let mut totals = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    for (left, right) in left.words.iter().zip(groups::<VECTORS>(right.words)) {
        prefetch_part(ahead.next());
        for step in 0..LINE {
            for row in 0..ROWS {
                let x = _mm512_set1_epi32(left[row][step] as i32);
                for vector in 0..VECTORS {
                    totals[row][vector] = _mm512_dpbusd_epi32(totals[row][vector], x, pulp::cast(right[step][vector]));
                }
            }
        }
    }
    // The stored bytes are 128 larger than the integers, which adds 128 times the columns' sums: exactly, below 2²⁴.
    let mut flips = [_mm512_setzero_si512(); VECTORS];
    for vector in 0..VECTORS {
        flips[vector] = _mm512_cvtps_epi32(_mm512_mul_ps(pulp::cast(column_sums[vector]), _mm512_set1_ps(128.0)));
    }
    for totals in &mut totals {
        for vector in 0..VECTORS {
            totals[vector] = _mm512_sub_epi32(totals[vector], flips[vector]);
        }
    }
    scale::<ROWS, VECTORS>(&totals, left, right, sums);
}

/// Writes sums of integers times the scales to `sums`, row by row: [`super::Int8Product::multiply`] has the formula.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn scale<const ROWS: usize, const VECTORS: usize>(
    totals: &[[__m512i; VECTORS]; ROWS],
    left: Int8Rows<'_, ROWS>,
    right: Int8Columns<'_>,
    sums: &mut [f32x16],
) {
    let columns: (&[f32x16], &[f32x16]) = (bytemuck::cast_slice(right.scales), bytemuck::cast_slice(right.sums));
    let (columns, column_sums) = (&columns.0[..VECTORS], &columns.1[..VECTORS]);
    let (scales, offsets) = (&left.scales[..ROWS], &left.offsets[..ROWS]);
    for (row, sums) in sums.chunks_exact_mut(VECTORS).take(ROWS).enumerate() {
        let (scale, offset) = (_mm512_set1_ps(scales[row]), _mm512_set1_ps(offsets[row]));
        for vector in 0..VECTORS {
            let sum = _mm512_cvtepi32_ps(totals[row][vector]);
            let sum = _mm512_mul_ps(_mm512_fmadd_ps(offset, pulp::cast(column_sums[vector]), sum), scale);
            sums[vector] = pulp::cast(_mm512_mul_ps(sum, pulp::cast(columns[vector])));
        }
    }
}
