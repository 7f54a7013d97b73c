//! Codes with AVX-512's integer dot products (VNNI), which multiply 64 codes at once where f32 operations multiply 16: with
//! those, the products of two rows take several times as long as reading the weight.
//!
//! Codes of 4 bits are two in a byte, those of 8 bits are bytes, and those of other widths, which lie across bytes, are
//! unpacked to bytes some rows at a time.
//!
//! The activations are whole numbers in two digits. Sums of integers are exact, so that the only error is that of the
//! activations.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use mert_arch::Dtype;
use mert_simd::{Buffer, Isa};
use pulp::f32x16;
use pulp::x86::V4;

use super::Task;
use super::store::Store;
use crate::digits::{self, DIGITS, LINES};
use crate::linear::Linear;
use crate::prepared::{Pair, Prepared};
use crate::unroll::unroll;
use crate::vector::{MAX_BYTES, MAX_LANES, prefetch_ahead};

/// Rows of a weight that go through the registers together.
const ROWS: usize = 4;

/// A register of codes.
type Line = [u8; MAX_BYTES];

/// Rows of a tile unpacked to a byte a code.
type Unpacked = Buffer<u8>;

/// Computes a task whose activations are in digits.
pub(super) fn run(simd: V4, bits: usize, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool) {
    if digits::fits(Isa::Avx512(simd), bits, linear.inputs()) {
        // SAFETY: the processor has the instructions; those that are not looked up here are part of V4.
        #[allow(unsafe_code)]
        unsafe {
            match bits {
                4 => run_available::<4>(simd, bits, linear, prepared, task, add),
                _ => run_available::<8>(simd, bits, linear, prepared, task, add),
            }
        }
    }
}

/// `BITS` are those of a code in the registers, `bits` those of a stored code.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn run_available<const BITS: usize>(
    simd: V4,
    bits: usize,
    linear: &Linear,
    prepared: &Prepared,
    task: Task<'_>,
    add: bool,
) {
    let Task { first, mut outs, rows, .. } = task;
    let outs = &mut outs[..rows];
    let rows = outs.first().map_or(0, |out| out.len());
    let whole = rows - rows % ROWS;
    let mut unpacked = Unpacked::default();
    for (pair, outs) in prepared.pairs.iter().zip(outs.chunks_mut(crate::prepared::ROWS)) {
        for row in (0..whole).step_by(ROWS).chain(whole..rows) {
            let store = Store { outs, tile: row, bias: linear.bias(), first: first + row, add };
            let output = first + row;
            match (row < whole, pair.rows) {
                (true, 2) => store.write(simd, &tile::<BITS, ROWS, 2>(bits, linear, output, pair, &mut unpacked)),
                (true, _) => store.write(simd, &tile::<BITS, ROWS, 1>(bits, linear, output, pair, &mut unpacked)),
                (false, 2) => store.write(simd, &tile::<BITS, 1, 2>(bits, linear, output, pair, &mut unpacked)),
                (false, _) => store.write(simd, &tile::<BITS, 1, 1>(bits, linear, output, pair, &mut unpacked)),
            }
        }
    }
}

/// The sums of `R` rows of the weight with `M` rows of activations, over the lanes yet to be added.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn tile<const BITS: usize, const R: usize, const M: usize>(
    bits: usize,
    linear: &Linear,
    row: usize,
    pair: &Pair,
    unpacked: &mut Unpacked,
) -> [[f32x16; M]; R] {
    let codes = const { MAX_BYTES * 8 / BITS };
    let groups = linear.groups::<R>(row);
    let ahead = R * linear.row_bytes();
    let (rows, ahead) = match bits == BITS {
        true => (linear.rows::<R>(row), ahead),
        false => (unpack_rows(bits, linear, row, ahead, unpacked), 0),
    };
    let shift = groups.size.trailing_zeros();
    // The lines that have 16 groups, whose scales are in a register at once.
    let (step, lines) = ((groups.size << 4) / codes, rows[0].len() / MAX_BYTES);
    let first_code: __m512i = pulp::cast(const { lane_starts(MAX_BYTES * 8 / BITS / MAX_LANES) });
    let line_digits = codes / MAX_BYTES * DIGITS * M;
    let (digits, _) = pair.digits().as_chunks::<MAX_BYTES>();
    let x_scales = pair.block_scales();
    let mut sums = [[_mm512_setzero_ps(); M]; R];
    for part in 0..groups.count.div_ceil(MAX_LANES) {
        let mut scales = [_mm512_setzero_ps(); R];
        let mut x_sums = [_mm512_setzero_ps(); M];
        unroll!(m < M => {
            x_sums[m] = load_floats(&pair.sums[m * pair.sums_stride + part * MAX_LANES..]);
        }, 0 1);
        unroll!(r < R => {
            scales[r] = load_groups(groups.dtype, groups.scales[r], part);
            let biases = load_groups(groups.dtype, groups.biases[r], part);
            unroll!(m < M => {
                sums[r][m] = _mm512_fmadd_ps(biases, x_sums[m], sums[r][m]);
            }, 0 1);
        }, 0 1 2 3);
        let (start, end) = ((part * step).min(lines), ((part + 1) * step).min(lines));
        let mut stored: [&[[Line; LINES]]; R] = [&[]; R];
        unroll!(r < R => {
            stored[r] = rows[r].as_chunks().0[start..end].as_chunks().0;
        }, 0 1 2 3);
        let (x, x_scales) = (&digits[start * line_digits..], &x_scales[start / LINES * M..]);
        let x = x.chunks_exact(line_digits * LINES).zip(x_scales.as_chunks::<M>().0);
        let mut code = first_code;
        for (block, (x, x_scales)) in (0..(end - start) / LINES).zip(x) {
            let mut products = [[_mm512_setzero_ps(); M]; R];
            unroll!(line < LINES => {
                let mut words = [_mm512_setzero_si512(); R];
                unroll!(r < R => {
                    prefetch_ahead(&stored[r][block][line], ahead);
                    words[r] = pulp::cast(stored[r][block][line]);
                }, 0 1 2 3);
                let index = _mm512_srl_epi32(code, _mm_cvtsi32_si128(shift as i32));
                let x = &x[line * line_digits..(line + 1) * line_digits];
                add_line::<BITS, R, M>(&words, x, index, &scales, line == 0, &mut products);
                code = _mm512_add_epi32(code, _mm512_set1_epi32(codes as i32));
            }, 0 1);
            unroll!(m < M => {
                let x_scale = _mm512_set1_ps(x_scales[m]);
                unroll!(r < R => {
                    sums[r][m] = _mm512_fmadd_ps(products[r][m], x_scale, sums[r][m]);
                }, 0 1 2 3);
            }, 0 1);
        }
    }
    let mut result = [[pulp::cast(_mm512_setzero_ps()); M]; R];
    unroll!(r < R => {
        unroll!(m < M => {
            result[r][m] = pulp::cast(sums[r][m]);
        }, 0 1);
    }, 0 1 2 3);
    result
}

/// `R` rows of the weight from row `first` on, a byte a code; prefetches what lies `ahead` bytes on.
fn unpack_rows<'a, const R: usize>(
    bits: usize,
    linear: &Linear,
    first: usize,
    ahead: usize,
    unpacked: &'a mut Unpacked,
) -> [&'a [u8]; R] {
    let inputs = linear.inputs();
    let out = unpacked.take(R * inputs);
    for (i, out) in out.chunks_exact_mut(inputs).enumerate() {
        // SAFETY: the processor has the instructions, as `digits::fits` has found for these bits.
        #[allow(unsafe_code)]
        unsafe {
            unpack(bits, linear.stored_from(first + i), ahead, out);
        }
    }
    let out = &*out;
    let mut rows: [&[u8]; R] = [&[]; R];
    for (row, out) in rows.iter_mut().zip(out.chunks_exact(inputs)) {
        *row = out;
    }
    rows
}

/// Codes of `bits` bits, a byte each: 64 of them are in `8 · bits` bytes, and 8 of them in `bits` bytes, which go to 64 bits
/// from which each code is shifted.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn unpack(bits: usize, stored: &[u8], ahead: usize, out: &mut [u8]) {
    let (mut bytes, mut shifts) = ([0u8; MAX_BYTES], [0u8; MAX_BYTES]);
    for i in 0..MAX_BYTES {
        bytes[i] = (i / 8 * bits + i % 8) as u8;
        shifts[i] = (i % 8 * bits) as u8;
    }
    let (bytes, shifts): (__m512i, __m512i) = (pulp::cast(bytes), pulp::cast(shifts));
    let mask = _mm512_set1_epi8((1 << bits) - 1);
    let stride = 8 * bits;
    for (line, out) in out.as_chunks_mut::<MAX_BYTES>().0.iter_mut().enumerate() {
        let stored = &stored[line * stride..];
        prefetch_ahead(&stored[..1], ahead);
        let spread = _mm512_permutexvar_epi8(bytes, load(stored));
        *out = pulp::cast(_mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, spread), mask));
    }
}

/// Adds the products of a line of each row of the weight, each lane times the scale of its group, which `index` selects;
/// the first line replaces what was there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn add_line<const BITS: usize, const R: usize, const M: usize>(
    words: &[__m512i; R],
    x: &[[i8; MAX_BYTES]],
    index: __m512i,
    scales: &[__m512; R],
    is_first: bool,
    products: &mut [[__m512; M]; R],
) {
    let halves = const { 8 / BITS };
    let nibbles = _mm512_set1_epi8(15);
    let mut codes = [[_mm512_setzero_si512(); 2]; R];
    let mut lane_scales = [_mm512_setzero_ps(); R];
    unroll!(r < R => {
        codes[r] = match halves {
            2 => [_mm512_and_si512(words[r], nibbles), _mm512_and_si512(_mm512_srli_epi16(words[r], 4), nibbles)],
            _ => [words[r], words[r]],
        };
        lane_scales[r] = _mm512_permutexvar_ps(index, scales[r]);
    }, 0 1 2 3);
    unroll!(m < M => {
        let mut sums = [_mm512_setzero_si512(); R];
        unroll!(step < DIGITS * halves => {
            let x = pulp::cast(x[step * M + m]);
            unroll!(r < R => {
                if step > 0 && step.is_multiple_of(halves) {
                    sums[r] = _mm512_slli_epi32(sums[r], 8);
                }
                sums[r] = _mm512_dpbusd_epi32(sums[r], codes[r][step % halves], x);
            }, 0 1 2 3);
        }, 0 1 2 3);
        unroll!(r < R => {
            let sum = _mm512_cvtepi32_ps(sums[r]);
            products[r][m] = match is_first {
                true => _mm512_mul_ps(lane_scales[r], sum),
                false => _mm512_fmadd_ps(lane_scales[r], sum, products[r][m]),
            };
        }, 0 1 2 3);
    }, 0 1);
}

/// The first code of each lane.
const fn lane_starts(codes: usize) -> [u32; MAX_LANES] {
    let mut starts = [0; MAX_LANES];
    let mut lane = 0;
    while lane < MAX_LANES {
        starts[lane] = (lane * codes) as u32;
        lane += 1;
    }
    starts
}

/// Register `part` of a row of scales or biases; zero beyond the end of the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn load_groups(dtype: Dtype, stored: &[u8], part: usize) -> __m512 {
    let stored = &stored[part * MAX_LANES * dtype.size()..];
    match dtype {
        Dtype::F32 => _mm512_castsi512_ps(load(stored)),
        Dtype::F16 => _mm512_cvtph_ps(load_half(stored)),
        Dtype::Bf16 => _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_half(stored)), 16)),
    }
}

/// A register of the first floats.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_floats(floats: &[f32]) -> __m512 {
    _mm512_castsi512_ps(load(bytemuck::cast_slice(&floats[..MAX_LANES])))
}

/// A register of the first bytes, zero beyond their end.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8]) -> __m512i {
    match bytes.first_chunk::<MAX_BYTES>() {
        Some(bytes) => pulp::cast(*bytes),
        None => pulp::cast(padded::<MAX_BYTES>(bytes)),
    }
}

/// Half a register of the first bytes, zero beyond their end.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_half(bytes: &[u8]) -> __m256i {
    match bytes.first_chunk::<{ MAX_BYTES / 2 }>() {
        Some(bytes) => pulp::cast(*bytes),
        None => pulp::cast(padded::<{ MAX_BYTES / 2 }>(bytes)),
    }
}

#[cold]
fn padded<const BYTES: usize>(bytes: &[u8]) -> [u8; BYTES] {
    let mut padded = [0; BYTES];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}
