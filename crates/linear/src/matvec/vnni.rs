//! Four-bit codes with AVX-512's integer dot products (VNNI), which multiply 64 codes at once where f32 operations multiply
//! 16: with those the products of two rows take longer than reading the weight.
//!
//! The activations of a block of 128 inputs are whole numbers of 24 bits times one scale, in three digits of 8 bits. Sums
//! of integers are exact, so that the only error is that of the activations, 2⁻²⁴ of the largest in the block.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use pulp::x86::V4;
use pulp::{f32x4, f32x16, u32x16};

use super::Task;
use super::affine::Scratch;
use super::store::Store;
use crate::linear::Linear;
use crate::prepared::{DIGITS, Pair, Prepared};
use crate::unroll::unroll;
use crate::vector::{MAX_BYTES, MAX_LANES, load_words, prefetch};

/// Rows of a weight that go through the registers together.
const ROWS: usize = 4;

/// Whether the processor has these instructions.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
}

/// Computes a task whose activations are in the order of digits.
pub(super) fn run(simd: V4, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool) {
    if is_available() {
        // SAFETY: the processor has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            run_available(simd, linear, prepared, task, add);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn run_available(simd: V4, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool) {
    let Task { first, mut outs, .. } = task;
    let rows = outs.first().map_or(0, |out| out.len());
    let mut scratch = Scratch::default();
    let whole = rows - rows % ROWS;
    for (pair, outs) in prepared.pairs.iter().zip(outs.chunks_mut(crate::prepared::ROWS)) {
        for row in (0..whole).step_by(ROWS).chain(whole..rows) {
            let store = Store { outs, tile: row, bias: linear.bias(), first: first + row, add };
            let output = first + row;
            match (row < whole, pair.rows) {
                (true, 2) => store.write(simd, &tile::<ROWS, 2>(simd, linear, output, pair, &mut scratch)),
                (true, _) => store.write(simd, &tile::<ROWS, 1>(simd, linear, output, pair, &mut scratch)),
                (false, 2) => store.write(simd, &tile::<1, 2>(simd, linear, output, pair, &mut scratch)),
                (false, _) => store.write(simd, &tile::<1, 1>(simd, linear, output, pair, &mut scratch)),
            }
        }
    }
}

/// The sums of `R` rows of the weight with `M` rows of activations, over the lanes yet to be added.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn tile<const R: usize, const M: usize>(
    simd: V4,
    linear: &Linear,
    row: usize,
    pair: &Pair,
    scratch: &mut Scratch,
) -> [[f32x16; M]; R] {
    let rows = linear.rows::<R>(row);
    let groups = scratch.widen(simd, linear, row, R);
    let shift = (groups.size / 8).trailing_zeros();
    // The group of each lane, from that of the first lane on.
    let lanes: [u32; MAX_LANES] = std::array::from_fn(|lane| lane as u32 >> shift);
    let lanes = pulp::cast(lanes);
    let nibbles = _mm512_set1_epi8(15);
    let whole: [&[[u8; MAX_BYTES]]; R] = std::array::from_fn(|r| rows[r].words.as_chunks().0);
    let next: [&[[u8; MAX_BYTES]]; R] = std::array::from_fn(|r| rows[r].next.as_chunks().0);
    let all_scales: [&[f32]; R] = std::array::from_fn(|r| groups.padded_scales(r));
    let mut sums = [[_mm512_setzero_ps(); M]; R];
    let (blocks, _) = pair.digits().as_chunks::<MAX_BYTES>();
    let (blocks, _) = blocks.as_chunks::<M>();
    let (blocks, _) = blocks.as_chunks::<{ 2 * DIGITS }>();
    let (x_scales, _) = pair.block_scales().as_chunks::<M>();
    for (block, (x, x_scales)) in blocks.iter().zip(x_scales).enumerate() {
        let group = (block * MAX_LANES) >> shift;
        let mut scales = [_mm512_setzero_ps(); R];
        let mut codes = [[_mm512_setzero_si512(); 2]; R];
        for r in 0..R {
            prefetch(next[r].get(block).map_or(&[], |next| next));
            let words: u32x16 = match whole[r].get(block) {
                Some(words) => bytemuck::pod_read_unaligned(words),
                None => load_last(&rows[r].words[block * MAX_BYTES..]),
            };
            let words = pulp::cast(words);
            codes[r] = [_mm512_and_si512(words, nibbles), _mm512_and_si512(_mm512_srli_epi16(words, 4), nibbles)];
            let groups: f32x4 = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&all_scales[r][group..group + 4]));
            scales[r] = _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(pulp::cast(groups)));
        }
        let mut products = [[_mm512_setzero_si512(); M]; R];
        unroll!(step < 2 * DIGITS => {
            for m in 0..M {
                let x = pulp::cast(x[step][m]);
                for r in 0..R {
                    if step > 0 && step.is_multiple_of(2) {
                        products[r][m] = _mm512_slli_epi32(products[r][m], 8);
                    }
                    products[r][m] = _mm512_dpbusd_epi32(products[r][m], codes[r][step % 2], x);
                }
            }
        });
        for m in 0..M {
            let x_scale = _mm512_set1_ps(x_scales[m]);
            for r in 0..R {
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(products[r][m]), x_scale);
                sums[r][m] = _mm512_fmadd_ps(scales[r], product, sums[r][m]);
            }
        }
    }
    // No closures: they would be compiled without the instructions.
    let mut result = [[pulp::cast(_mm512_setzero_ps()); M]; R];
    for r in 0..R {
        for m in 0..M {
            result[r][m] = pulp::cast(sums[r][m]);
        }
        groups.add_biases(simd, r, pair, &mut result[r]);
    }
    result
}

/// The words after the last whole register of a row, filled up with zeros.
#[cold]
fn load_last(bytes: &[u8]) -> u32x16 {
    load_words::<V4>(bytes)
}
