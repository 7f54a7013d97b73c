//! Products of bf16 numbers, summed in f32.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use pulp::Simd;

use super::{TileRegisters, WordGroup};
use crate::buffer::LINE;
use crate::isa::{Isa, mul_add};

/// The instructions that multiply bf16 numbers.
///
/// x86's `vdpbf16ps` adds the product of the high halves of two words to a sum, and then that of the low halves, each rounded to
/// the nearest f32; [`Bf16Product::Widened`] does the same with f32 instructions, so that both give the same bits, except that
/// `vdpbf16ps` takes numbers below 2⁻¹²⁶ for 0. ARM's `bfmmla` rounds the two products of a word and their
/// sum to odd before it adds them: its sums differ in their last places, and so do those of AMX's `tdpbf16ps`, which sums the high
/// and the low halves apart, here for even and odd lines of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16Product {
    /// AMX's `tdpbf16ps`: 8192 products in an instruction.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX-512's `vdpbf16ps`: 32 products in an instruction.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// ARM's `bfmmla`: 16 products in an instruction.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Two f32 products for each word: no faster than f32 operands, for processors without the instructions.
    Widened,
}

impl Bf16Product {
    /// The fastest for the kernels of `isa` on this processor.
    pub fn detect(isa: Isa) -> Self {
        Bf16Product::available(isa).first().copied().unwrap_or(Bf16Product::Widened)
    }

    /// The instructions for the kernels of `isa` that this processor has, the fastest first.
    pub fn available(isa: Isa) -> Vec<Self> {
        let mut available = Vec::new();
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => {
                available.extend((!Isa::is_named() && super::amx::has_bf16()).then_some(Bf16Product::Amx));
                available.extend(std::is_x86_feature_detected!("avx512bf16").then_some(Bf16Product::Avx512));
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) if std::arch::is_aarch64_feature_detected!("bf16") => available.push(Bf16Product::Neon),
            _ => {}
        }
        available.push(Bf16Product::Widened);
        available
    }

    /// The name of the instruction.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Product::Amx => "tdpbf16ps",
            #[cfg(target_arch = "x86_64")]
            Bf16Product::Avx512 => "vdpbf16ps",
            #[cfg(target_arch = "aarch64")]
            Bf16Product::Neon => "bfmmla",
            Bf16Product::Widened => "f32 multiply-adds",
        }
    }

    /// Configures the tile registers that products of tiles of `rows` rows, 1 to 16, use on this thread, until the result is
    /// dropped; `None` if they use none.
    pub fn prepare(self, rows: usize) -> Option<TileRegisters> {
        self.uses_tile_registers().then(|| TileRegisters::configure(rows))
    }

    /// True if products use tile registers.
    pub fn uses_tile_registers(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Product::Amx => true,
            _ => false,
        }
    }

    /// True if bf16 operands take less time than f32 ones.
    pub fn is_fast(self) -> bool {
        self != Bf16Product::Widened
    }

    /// True if the right operand's words are in pairs, as [`pair_words`](super::pair_words) puts them.
    pub fn pairs_words(self) -> bool {
        match self {
            #[cfg(target_arch = "aarch64")]
            Bf16Product::Neon => true,
            _ => false,
        }
    }

    /// Writes `left · right` for one tile to `sums`, as [`multiply`](crate::multiply) computes it for floats: `right` holds a row of
    /// `VECTORS · F32_LANES` words for each word of a left row, in pairs if [`Bf16Product::pairs_words`] says so.
    #[inline(always)]
    pub fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        simd: S,
        left: &[WordGroup<ROWS>],
        right: &[u32],
        ahead: &[u8],
        sums: &mut [[S::f32s; VECTORS]; ROWS],
    ) {
        // Only x86's kernel prefetches.
        let _ = ahead;
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Product::Amx if S::F32_LANES == 16 => {
                let sums = bytemuck::cast_slice_mut(sums.as_flattened_mut());
                super::amx::bf16::<ROWS, VECTORS>(left, right, ahead, sums);
            }
            #[cfg(target_arch = "x86_64")]
            Bf16Product::Avx512 if S::F32_LANES == 16 => {
                super::avx512::bf16::<ROWS, VECTORS>(
                    left,
                    right,
                    ahead,
                    bytemuck::cast_slice_mut(sums.as_flattened_mut()),
                );
            }
            #[cfg(target_arch = "aarch64")]
            Bf16Product::Neon if S::F32_LANES == 4 => {
                super::neon::bf16::<ROWS, VECTORS>(left, right, bytemuck::cast_slice_mut(sums.as_flattened_mut()));
            }
            _ => *sums = widened::<S, ROWS, VECTORS>(simd, left, right),
        }
    }
}

/// The product with f32 instructions.
#[inline(always)]
fn widened<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: &[WordGroup<ROWS>],
    right: &[u32],
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    let (right, _) = S::as_simd_u32s(right);
    let (right, _) = right.as_chunks::<VECTORS>();
    let (right, _) = right.as_chunks::<LINE>();
    for (left, right) in left.iter().zip(right) {
        for step in 0..LINE {
            let (mut high, mut low) = ([simd.splat_f32s(0.0); VECTORS], [simd.splat_f32s(0.0); VECTORS]);
            for vector in 0..VECTORS {
                let words = right[step][vector];
                high[vector] = simd.transmute_f32s_u32s(simd.and_u32s(words, simd.splat_u32s(0xffff_0000)));
                low[vector] = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(words, simd.splat_u32s(16)));
            }
            for row in 0..ROWS {
                let word = left[row][step];
                let x = simd.splat_f32s(f32::from_bits(word & 0xffff_0000));
                for vector in 0..VECTORS {
                    sums[row][vector] = mul_add(simd, x, high[vector], sums[row][vector]);
                }
                let x = simd.splat_f32s(f32::from_bits(word << 16));
                for vector in 0..VECTORS {
                    sums[row][vector] = mul_add(simd, x, low[vector], sums[row][vector]);
                }
            }
        }
    }
    sums
}
