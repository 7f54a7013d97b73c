//! The products of 8-bit integers with AVX2: `vpmaddubsw` without saturation.
//!
//! `vpmaddubsw` multiplies bytes without a sign by bytes with one and saturates sums of two products at ±32767. Here the left
//! byte is the magnitude, at most 127, and the right one gets the left one's sign: no sum of two products exceeds 2·127².

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop, unsafe_code)]

use std::arch::x86_64::*;

use pulp::{f32x8, u32x8};

use super::WordGroup;
use crate::buffer::LINE;

/// Rows that are summed at a time, which divide the rows of AVX2's tiles: with all of them, the registers would not hold the
/// operands.
const ROWS_AT_A_TIME: usize = 3;

/// Writes the sums of a tile of 8-bit integers to `sums`, row by row. The processor has AVX2.
pub(super) fn int8<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    sums: &mut [f32x8],
) {
    let right = bytemuck::cast_slice::<u32, u32x8>(right).as_chunks::<VECTORS>().0.as_chunks().0;
    // SAFETY: the processor has the instructions.
    unsafe { int8_available::<ROWS, VECTORS>(left, right, sums) }
}

#[target_feature(enable = "avx2")]
fn int8_available<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[[[u32x8; VECTORS]; LINE]],
    sums: &mut [f32x8],
) {
    let ones = _mm256_set1_epi16(1);
    for (first, sums) in (0..ROWS).step_by(ROWS_AT_A_TIME).zip(sums.chunks_mut(ROWS_AT_A_TIME * VECTORS)) {
        let mut totals = [[_mm256_setzero_si256(); VECTORS]; ROWS_AT_A_TIME];
        for (left, right) in left.iter().zip(right) {
            for step in 0..LINE {
                for row in 0..ROWS_AT_A_TIME {
                    let x = _mm256_set1_epi32(left[first + row][step] as i32);
                    let magnitude = _mm256_abs_epi8(x);
                    for vector in 0..VECTORS {
                        let signed = _mm256_sign_epi8(pulp::cast(right[step][vector]), x);
                        let pairs = _mm256_maddubs_epi16(magnitude, signed);
                        let products = _mm256_madd_epi16(pairs, ones);
                        totals[row][vector] = _mm256_add_epi32(totals[row][vector], products);
                    }
                }
            }
        }
        for (row, sums) in sums.chunks_exact_mut(VECTORS).enumerate() {
            for vector in 0..VECTORS {
                sums[vector] = pulp::cast(_mm256_cvtepi32_ps(totals[row][vector]));
            }
        }
    }
}
