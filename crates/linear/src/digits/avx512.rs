//! The split of activations into digits with AVX-512.

// Only constant indices keep the numbers in registers.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::{DIGITS, LARGEST, LINE_BYTES, LINES, PART, RANGE, Split};
use crate::vector::MAX_LANES;

/// True if the processor has the instructions of this file and of the products.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
}

/// Splits all activations for codes of so many bits in the registers, if there are the instructions.
pub(super) fn split(split: Split<'_>, bits: usize) {
    if is_available() {
        // SAFETY: the processor has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            match bits {
                4 => split.run_available::<{ 2 * LINE_BYTES }, 2>(),
                _ => split.run_available::<LINE_BYTES, 1>(),
            }
        }
    }
}

impl Split<'_> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn run_available<const CODES: usize, const HALVES: usize>(self) {
        let rows = self.x.len() / self.inputs;
        let (all, _) = self.digits.as_chunks_mut::<LINE_BYTES>();
        let blocks = all.chunks_exact_mut(LINES * HALVES * DIGITS * rows);
        for (block, (digits, scales)) in blocks.zip(self.block_scales.chunks_exact_mut(rows)).enumerate() {
            for (row, x) in self.x.chunks_exact(self.inputs).enumerate() {
                let start = block * LINES * CODES;
                let (x, _) = x[start..][..LINES * CODES].as_chunks::<PART>();
                let scale = block_scale(x);
                let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                scales[row] = scale;
                for (part, x) in x.iter().enumerate() {
                    let (low, high) = halves(x);
                    let mut numbers = [_mm512_setzero_si512(); 2];
                    for (number, x) in numbers.iter_mut().zip([low, high]) {
                        *number = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(factor)));
                    }
                    let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(numbers[0], numbers[1]));
                    let group = (start + part * PART) / self.group_size;
                    self.sums[row * self.sums_stride + group] += scale * sum as f32;
                    if HALVES == 2 {
                        let [first, second] = numbers;
                        let (even, odd): (__m512i, __m512i) =
                            (pulp::cast(every_second(0)), pulp::cast(every_second(1)));
                        numbers[0] = _mm512_permutex2var_epi32(first, even, second);
                        numbers[1] = _mm512_permutex2var_epi32(first, odd, second);
                    }
                    let (line, part) = (part / (CODES / PART), part % (CODES / PART));
                    for i in 0..2 {
                        let upper = _mm512_srai_epi32(_mm512_add_epi32(numbers[i], _mm512_set1_epi32(128)), 8);
                        let (half, start) = match HALVES {
                            2 => (i, part * MAX_LANES),
                            _ => (0, part * PART + i * MAX_LANES),
                        };
                        for (digit, number) in [upper, numbers[i]].into_iter().enumerate() {
                            let bytes: [i8; MAX_LANES] = pulp::cast(_mm512_cvtepi32_epi8(number));
                            let to = &mut digits[((line * DIGITS + digit) * HALVES + half) * rows + row];
                            to[start..start + MAX_LANES].copy_from_slice(&bytes);
                        }
                    }
                }
            }
        }
    }
}

/// The value of 1 in the digits of a block: NaN where a value is not a number or too large, 0 where all are next to 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn block_scale(x: &[[f32; PART]]) -> f32 {
    let mut max = _mm512_setzero_ps();
    let mut is_finite = 0xffff;
    for x in x {
        let (low, high) = halves(x);
        for x in [_mm512_abs_ps(low), _mm512_abs_ps(high)] {
            max = _mm512_max_ps(max, x);
            // A maximum skips what is not a number.
            is_finite &= _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_set1_ps(RANGE[1]));
        }
    }
    let max = _mm512_reduce_max_ps(max);
    match is_finite == 0xffff {
        true if max > RANGE[0] => max / LARGEST,
        true => 0.0,
        false => f32::NAN,
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn halves(x: &[f32; PART]) -> (__m512, __m512) {
    let (halves, _) = x.as_chunks::<MAX_LANES>();
    (pulp::cast(halves[0]), pulp::cast(halves[1]))
}

/// The lanes of two registers with even (0) or odd (1) indices.
const fn every_second(first: u32) -> [u32; MAX_LANES] {
    let mut lanes = [0; MAX_LANES];
    let mut lane = 0;
    while lane < MAX_LANES {
        lanes[lane] = first + 2 * lane as u32;
        lane += 1;
    }
    lanes
}
