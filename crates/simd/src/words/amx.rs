//! The products of words with AMX's tile registers: `tdpbf16ps` and `tdpbssd`.
//!
//! A tile register holds 16 words of each of up to 16 rows, so that a group of the left operand and 16 columns of the right one
//! are tiles as they are packed. The intrinsics are not stable, so that a whole product is one piece of assembly.
//!
//! Tile registers are configured before they are used, and released afterwards, since in use they slow down every switch of
//! threads. Both together take up to a third of a small product's time, so that [`TileRegisters`] keeps them for many. Between
//! configuration and release nothing but this crate's kernels runs on the thread, so that no other user of the registers (oneDNN
//! is one) finds or leaves another configuration.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop, unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use pulp::f32x16;

use super::avx512::scale;
use super::{Int8Columns, Int8Rows, WordGroup};
use crate::buffer::LINE;
use crate::microkernel::prefetch_part;

/// The registers of a right operand for which a product has two tile registers of sums each, beside those of the operands.
const MAX_VECTORS: usize = 3;

/// True if the processor has `tdpbf16ps`, and this process may use it.
pub(super) fn has_bf16() -> bool {
    features().is_some_and(|features| features & 1 << 22 != 0)
}

/// True if the processor has `tdpbssd`, and this process may use it.
pub(super) fn has_int8() -> bool {
    features().is_some_and(|features| features & 1 << 25 != 0)
}

/// The register EDX of CPUID's leaf 7, if the processor has tile registers and the system gave this process leave to use them.
fn features() -> Option<u32> {
    static FEATURES: OnceLock<Option<u32>> = OnceLock::new();
    *FEATURES.get_or_init(|| {
        let features = if __get_cpuid_max(0).0 >= 7 { __cpuid_count(7, 0).edx } else { 0 };
        (features & 1 << 24 != 0 && is_permitted()).then_some(features)
    })
}

/// Asks Linux for the tile registers: they make a thread's saved state so large that no program has them unasked
/// ([the system call](https://docs.kernel.org/arch/x86/xstate.html)).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// The bytes in a row of each tile register.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Sums and the left operand with `rows` rows, 1 to 16, the right operand, in register 7, with a row for each of its words.
    const fn new(rows: usize) -> Self {
        assert!(rows >= 1 && rows <= LINE, "a tile register has 1 to 16 rows");
        let (row_bytes, mut counts) = ([64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            counts[tile] = if tile == 7 { LINE as u8 } else { rows as u8 };
            tile += 1;
        }
        TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows: counts }
    }
}

thread_local! {
    /// The rows that this thread's tile registers are configured for; 0 if they are released.
    static CONFIGURED: Cell<usize> = const { Cell::new(0) };
}

/// The tile registers of this thread, configured for products of a number of rows until this is dropped. Products do without it:
/// then each configures and releases them.
#[derive(Debug)]
pub struct TileRegisters {
    /// The registers are those of one thread, which this therefore stays on.
    _not_send: PhantomData<*const ()>,
}

impl TileRegisters {
    /// Configures them. The processor has them, as [`has_bf16`] or [`has_int8`] found.
    pub(super) fn configure(rows: usize) -> Self {
        configure(&TileConfig::new(rows));
        CONFIGURED.set(rows);
        TileRegisters { _not_send: PhantomData }
    }
}

impl Drop for TileRegisters {
    fn drop(&mut self) {
        release();
    }
}

/// Calls `product` with tile registers for `ROWS` rows.
#[inline(always)]
fn with_registers<const ROWS: usize, R>(product: impl FnOnce() -> R) -> R {
    if CONFIGURED.get() == ROWS {
        return product();
    }
    // Registers that were configured for other rows are released with these, and `CONFIGURED` says so.
    let _registers = TileRegisters::configure(ROWS);
    product()
}

fn configure(config: &TileConfig) {
    // SAFETY: it reads the configuration, and the compiler uses no tile registers.
    unsafe { asm!("ldtilecfg [{config}]", config = in(reg) config, options(nostack, preserves_flags)) };
}

fn release() {
    CONFIGURED.set(0);
    // SAFETY: the compiler uses no tile registers.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// The sums of the groups with even numbers, and of those with odd ones, which do not wait for each other.
type Sums<T, const ROWS: usize, const VECTORS: usize> = [[[T; VECTORS]; ROWS]; 2];

/// Defines a function that multiplies all groups of a tile with the instruction `$dot`: every row at a time with one register of
/// the right operand.
macro_rules! product {
    ($name:ident, $dot:literal, $sum:ty) => {
        /// # Safety
        /// The processor has the instruction, the system gave leave to use it, and tile registers are configured for `ROWS` rows.
        #[inline(always)]
        unsafe fn $name<const ROWS: usize, const VECTORS: usize>(
            left: &[WordGroup<ROWS>],
            right: &[u32],
        ) -> Sums<$sum, ROWS, VECTORS> {
            assert!(ROWS <= LINE && (2..=MAX_VECTORS).contains(&VECTORS), "the tiles of AVX-512");
            let groups = left.len().min(right.len() / (VECTORS * LINE * LINE));
            let mut sums = MaybeUninit::<Sums<$sum, ROWS, VECTORS>>::zeroed();
            if groups == 0 {
                // SAFETY: zeros are sums.
                return unsafe { sums.assume_init() };
            }
            let row_bytes = 4 * LINE * VECTORS;
            // Each time that rustfmt formats it, it moves it to the right.
    #[rustfmt::skip]
            macro_rules! run {
                ($third_even:expr, $third_odd:expr, $store_third:expr) => {
                    // SAFETY: it reads `groups` groups of both operands, as many as there are, and writes all rows of `sums`; the
                    // caller vouches for the instructions.
                    unsafe {
                        asm!(
                            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2",
                            "tilezero tmm3", "tilezero tmm4", "tilezero tmm5",
                            "2:",
                            "tileloadd tmm6, [{left} + {line}]",
                            "tileloadd tmm7, [{right} + {row}]",
                            concat!($dot, " tmm0, tmm6, tmm7"),
                            "tileloadd tmm7, [{right} + {row} + 64]",
                            concat!($dot, " tmm1, tmm6, tmm7"),
                            $third_even,
                            "add {left}, {left_group}",
                            "add {right}, {right_group}",
                            "dec {groups}",
                            "jz 3f",
                            "tileloadd tmm6, [{left} + {line}]",
                            "tileloadd tmm7, [{right} + {row}]",
                            concat!($dot, " tmm3, tmm6, tmm7"),
                            "tileloadd tmm7, [{right} + {row} + 64]",
                            concat!($dot, " tmm4, tmm6, tmm7"),
                            $third_odd,
                            "add {left}, {left_group}",
                            "add {right}, {right_group}",
                            "dec {groups}",
                            "jnz 2b",
                            "3:",
                            "tilestored [{sums} + {row}], tmm0",
                            "tilestored [{sums} + {row} + 64], tmm1",
                            "tilestored [{sums} + {row} + {odd}], tmm3",
                            "tilestored [{sums} + {row} + {odd} + 64], tmm4",
                            $store_third,
                            left = inout(reg) left.as_ptr() => _,
                            right = inout(reg) right.as_ptr() => _,
                            groups = inout(reg) groups => _,
                            sums = in(reg) sums.as_mut_ptr(),
                            line = in(reg) 4 * LINE,
                            row = in(reg) row_bytes,
                            left_group = const 4 * LINE * ROWS,
                            right_group = const 4 * LINE * LINE * VECTORS,
                            odd = const 4 * LINE * VECTORS * ROWS,
                            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                            options(nostack)
                        );
                    }
                };
            }
            if VECTORS == MAX_VECTORS {
                run!(
                    concat!("tileloadd tmm7, [{right} + {row} + 128]\n", $dot, " tmm2, tmm6, tmm7"),
                    concat!("tileloadd tmm7, [{right} + {row} + 128]\n", $dot, " tmm5, tmm6, tmm7"),
                    "tilestored [{sums} + {row} + 128], tmm2\ntilestored [{sums} + {row} + {odd} + 128], tmm5"
                );
            } else {
                run!("", "", "");
            }
            // SAFETY: every row of every register was written.
            unsafe { sums.assume_init() }
        }
    };
}

product!(bf16_groups, "tdpbf16ps", __m512);
product!(int8_groups, "tdpbssd", __m512i);

/// Writes the sums of a tile of bf16 numbers to `sums`, row by row. The processor has the instruction, as
/// [`super::Bf16Product::available`] found.
pub(super) fn bf16<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    // SAFETY: registers of 16 floats are those of pulp's AVX-512 token, which exists only where the processor has it.
    unsafe { bf16_available::<ROWS, VECTORS>(left, right, ahead, sums) }
}

/// Writes the scaled sums of a tile of 8-bit integers to `sums`, row by row. The processor has the instruction, as
/// [`super::Int8Product::available`] found.
pub(super) fn int8<const ROWS: usize, const VECTORS: usize>(
    left: Int8Rows<'_, ROWS>,
    right: Int8Columns<'_>,
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    // SAFETY: registers of 16 floats are those of pulp's AVX-512 token, which exists only where the processor has it.
    unsafe { int8_available::<ROWS, VECTORS>(left, right, ahead, sums) }
}

#[target_feature(enable = "avx512f")]
fn bf16_available<const ROWS: usize, const VECTORS: usize>(
    left: &[WordGroup<ROWS>],
    right: &[u32],
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    prefetch_part(Some(ahead));
    // SAFETY: the processor has the instruction.
    let [even, odd] = with_registers::<ROWS, _>(|| unsafe { bf16_groups::<ROWS, VECTORS>(left, right) });
    for (row, sums) in sums.chunks_exact_mut(VECTORS).take(ROWS).enumerate() {
        for vector in 0..VECTORS {
            sums[vector] = pulp::cast(_mm512_add_ps(even[row][vector], odd[row][vector]));
        }
    }
}

#[target_feature(enable = "avx512f")]
fn int8_available<const ROWS: usize, const VECTORS: usize>(
    left: Int8Rows<'_, ROWS>,
    right: Int8Columns<'_>,
    ahead: &[u8],
    sums: &mut [f32x16],
) {
    prefetch_part(Some(ahead));
    // SAFETY: the processor has the instruction.
    let [mut even, odd] =
        with_registers::<ROWS, _>(|| unsafe { int8_groups::<ROWS, VECTORS>(left.words, right.words) });
    for (even, odd) in even.as_flattened_mut().iter_mut().zip(odd.as_flattened()) {
        *even = _mm512_add_epi32(*even, *odd);
    }
    scale::<ROWS, VECTORS>(&even, left, right, sums);
}
