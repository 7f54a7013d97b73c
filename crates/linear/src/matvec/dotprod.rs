//! Codes of 4 and 8 bits with ARM's integer dot products (FEAT_DotProd), which multiply 16 codes at once where f32 operations
//! multiply 4. Apple's processors have them from the M1 on.
//!
//! The activations are whole numbers in two digits, as `crate::digits` makes them. Sums of integers are exact, so that the only
//! error is that of the activations.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use std::arch::aarch64::*;
use std::arch::asm;

use mert_simd::{Isa, mul_add};
use pulp::Simd;
use pulp::aarch64::Neon;

use super::Task;
use super::affine::{Groups, Scratch};
use super::store::Store;
use crate::digits::{self, DIGITS, LINE_BYTES, LINES};
use crate::linear::Linear;
use crate::prepared::{Pair, Prepared};
use crate::unroll::unroll;
use crate::vector::load_floats;

/// Rows of a weight that go through the registers together.
const ROWS: usize = 2;

/// Bytes of a register.
const BYTES: usize = 16;

/// Registers of a line of codes.
const PARTS: usize = LINE_BYTES / BYTES;

/// Lanes of a register.
const LANES: usize = 4;

/// Computes a task whose activations are in digits.
pub(super) fn run(simd: Neon, bits: usize, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool) {
    if digits::fits(Isa::Neon(simd), bits, linear.inputs()) {
        // SAFETY: the processor has the instructions.
        #[allow(unsafe_code)]
        unsafe {
            match (bits, linear.group_size()) {
                (4, 32) => run_available::<2, 1>(simd, linear, prepared, task, add),
                (4, 64) => run_available::<2, 2>(simd, linear, prepared, task, add),
                (4, _) => run_available::<2, 4>(simd, linear, prepared, task, add),
                (_, 32) => run_available::<1, 2>(simd, linear, prepared, task, add),
                (_, 64) => run_available::<1, 4>(simd, linear, prepared, task, add),
                _ => run_available::<1, 8>(simd, linear, prepared, task, add),
            }
        }
    }
}

/// `HALVES` are the codes in a byte, `REGISTERS` those of a group.
#[target_feature(enable = "neon,dotprod")]
fn run_available<const HALVES: usize, const REGISTERS: usize>(
    simd: Neon,
    linear: &Linear,
    prepared: &Prepared,
    task: Task<'_>,
    add: bool,
) {
    let Task { first, mut outs, rows, .. } = task;
    let outs = &mut outs[..rows];
    let rows = outs.first().map_or(0, |out| out.len());
    let whole = rows - rows % ROWS;
    let mut scratch = Scratch::default();
    for (pair, outs) in prepared.pairs.iter().zip(outs.chunks_mut(crate::prepared::ROWS)) {
        for row in (0..whole).step_by(ROWS).chain(whole..rows) {
            let store = Store { outs, tile: row, bias: linear.bias(), first: first + row, add };
            let output = first + row;
            match (row < whole, pair.rows) {
                (true, 2) => {
                    store.write(simd, &tile::<HALVES, REGISTERS, ROWS, 2>(simd, linear, output, pair, &mut scratch))
                }
                (true, _) => {
                    store.write(simd, &tile::<HALVES, REGISTERS, ROWS, 1>(simd, linear, output, pair, &mut scratch))
                }
                (false, 2) => {
                    store.write(simd, &tile::<HALVES, REGISTERS, 1, 2>(simd, linear, output, pair, &mut scratch))
                }
                (false, _) => {
                    store.write(simd, &tile::<HALVES, REGISTERS, 1, 1>(simd, linear, output, pair, &mut scratch))
                }
            }
        }
    }
}

/// The sums of `R` rows of the weight with `M` rows of activations, over the lanes yet to be added.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tile<const HALVES: usize, const REGISTERS: usize, const R: usize, const M: usize>(
    simd: Neon,
    linear: &Linear,
    row: usize,
    pair: &Pair,
    scratch: &mut Scratch,
) -> [[<Neon as Simd>::f32s; M]; R] {
    let rows = linear.rows::<R>(row);
    let groups = scratch.widen(simd, linear, row, R);
    let mut sums = [[simd.splat_f32s(0.0); M]; R];
    let mut codes: [&[[u8; BYTES]]; R] = [&[]; R];
    let mut scales: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        (codes[r], scales[r]) = (rows[r].as_chunks().0, groups.scales(r));
    }
    let (digits, _) = pair.digits().as_chunks::<BYTES>();
    let digits = digits.chunks_exact(const { LINES * HALVES * DIGITS * M * PARTS });
    for (block, (x, x_scales)) in digits.zip(pair.block_scales().as_chunks::<M>().0).enumerate() {
        let mut block_codes = [&[[0; BYTES]; LINES * PARTS]; R];
        let mut block_scales: [&[f32]; R] = [&[]; R];
        let block_groups = const { LINES * PARTS / REGISTERS };
        for r in 0..R {
            let codes = codes[r].get(block * LINES * PARTS..).and_then(|codes| codes.first_chunk());
            let codes = codes.unwrap_or_else(|| unreachable!("a row has the codes of all activations"));
            (block_codes[r], block_scales[r]) = (codes, &scales[r][block * block_groups..][..block_groups]);
        }
        unroll!(group < block_groups => {
            let mut products = [[[zero(); DIGITS]; M]; R];
            unroll!(i < REGISTERS => {
                let register = group * REGISTERS + i;
                let mut codes = [[zero_bytes(); HALVES]; R];
                unroll!(r < R => {
                    codes[r] = load_codes::<HALVES>(&block_codes[r][register]);
                }, 0 1);
                // `[line][digit][half][row]`, each of 64 bytes.
                let (line, part) = (register / PARTS, register % PARTS);
                unroll!(digit < DIGITS => {
                    unroll!(half < HALVES => {
                        unroll!(m < M => {
                            let at = ((line * DIGITS + digit) * HALVES + half) * M + m;
                            let x = load(&x[at * PARTS + part]);
                            unroll!(r < R => {
                                products[r][m][digit] = dot(products[r][m][digit], codes[r][half], x);
                            }, 0 1);
                        }, 0 1);
                    }, 0 1);
                }, 0 1);
            }, 0 1 2 3 4 5 6 7);
            unroll!(r < R => {
                let scale = block_scales[r][group];
                unroll!(m < M => {
                    let [upper, lower] = products[r][m];
                    let product = floats(vcvtq_f32_s32(vaddq_s32(vshlq_n_s32::<8>(upper), lower)));
                    sums[r][m] = mul_add(simd, product, simd.splat_f32s(scale * x_scales[m]), sums[r][m]);
                }, 0 1);
            }, 0 1);
        }, 0 1 2 3 4 5 6 7);
    }
    for r in 0..R {
        groups.add_biases(simd, r, pair, &mut sums[r]);
        if HALVES == 1 {
            add_offsets(simd, groups, r, pair, &mut sums[r]);
        }
    }
    sums
}

/// Adds Σ scale·128·(Σ x): codes of 8 bits are multiplied as signed numbers, code − 128.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_offsets<const M: usize>(
    simd: Neon,
    groups: Groups<'_>,
    row: usize,
    pair: &Pair,
    sums: &mut [<Neon as Simd>::f32s; M],
) {
    for (block, scales) in groups.scales(row).chunks(LANES).enumerate() {
        let offsets = simd.mul_f32s(load_floats::<Neon>(scales), simd.splat_f32s(128.0));
        for m in 0..M {
            let x = load_floats::<Neon>(&pair.sums[m * pair.sums_stride + block * LANES..]);
            sums[m] = mul_add(simd, offsets, x, sums[m]);
        }
    }
}

/// A register of codes: those of 4 bits with even and odd indices, or those of 8 bits less 128.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn load_codes<const HALVES: usize>(stored: &[u8; BYTES]) -> [int8x16_t; HALVES] {
    let mut codes = [zero_bytes(); HALVES];
    let stored = vreinterpretq_u8_s8(load(bytemuck::cast_ref(stored)));
    match HALVES {
        2 => {
            codes[0] = vreinterpretq_s8_u8(vandq_u8(stored, vdupq_n_u8(15)));
            codes[HALVES - 1] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(stored));
        }
        _ => codes[0] = vreinterpretq_s8_u8(veorq_u8(stored, vdupq_n_u8(128))),
    }
    codes
}

/// sums + the products of four neighbours in each lane. The compiler's name for the instruction is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sums: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction reads and writes these registers alone.
    #[allow(unsafe_code)]
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {codes:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            codes = in(vreg) codes,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

#[inline]
#[target_feature(enable = "neon")]
fn zero() -> int32x4_t {
    vdupq_n_s32(0)
}

#[inline]
#[target_feature(enable = "neon")]
fn zero_bytes() -> int8x16_t {
    vdupq_n_s8(0)
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[i8; BYTES]) -> int8x16_t {
    // SAFETY: as many bytes as a register has.
    #[allow(unsafe_code)]
    unsafe {
        vld1q_s8(bytes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn floats(values: float32x4_t) -> <Neon as Simd>::f32s {
    let mut lanes = [0f32; LANES];
    // SAFETY: as many floats as a register has.
    #[allow(unsafe_code)]
    unsafe {
        vst1q_f32(lanes.as_mut_ptr(), values);
    }
    pulp::cast(lanes)
}
