//! Products of 8-bit integers: exact sums, the same on every processor.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use pulp::Simd;

use super::{TileRegisters, WordGroup};
use crate::buffer::LINE;
use crate::isa::{Isa, mul_add};

/// The largest number of values that a product sums: whole numbers up to it, 127² times as many, are exact in f32.
pub const INT8_BLOCK: usize = 1024;

/// The instructions that multiply 8-bit integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int8Product {
    /// AMX's `tdpbssd`: 16384 products in an instruction.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX-512's `vpdpbusd`: 64 products in an instruction.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2's `vpmaddubsw`, `vpmaddwd` and an addition: 32 products in three instructions.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// ARM's `smmla`: 32 products in an instruction.
    #[cfg(target_arch = "aarch64")]
    NeonBlocks,
    /// ARM's `sdot`: 16 products in an instruction.
    #[cfg(target_arch = "aarch64")]
    NeonDots,
    /// Four f32 products for each word, for processors without the instructions.
    Widened,
}

impl Int8Product {
    /// The fastest for the kernels of `isa` on this processor.
    pub fn detect(isa: Isa) -> Self {
        Int8Product::available(isa).first().copied().unwrap_or(Int8Product::Widened)
    }

    /// The instructions for the kernels of `isa` that this processor has, the fastest first.
    pub fn available(isa: Isa) -> Vec<Self> {
        let mut available = Vec::new();
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => {
                available.extend((!Isa::is_named() && super::amx::has_int8()).then_some(Int8Product::Amx));
                available.extend(std::is_x86_feature_detected!("avx512vnni").then_some(Int8Product::Avx512));
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => available.push(Int8Product::Avx2),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => {
                available.extend(std::arch::is_aarch64_feature_detected!("i8mm").then_some(Int8Product::NeonBlocks));
                available.extend(std::arch::is_aarch64_feature_detected!("dotprod").then_some(Int8Product::NeonDots));
            }
            _ => {}
        }
        available.push(Int8Product::Widened);
        available
    }

    /// The name of the instruction.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Product::Amx => "tdpbssd",
            #[cfg(target_arch = "x86_64")]
            Int8Product::Avx512 => "vpdpbusd",
            #[cfg(target_arch = "x86_64")]
            Int8Product::Avx2 => "vpmaddubsw",
            #[cfg(target_arch = "aarch64")]
            Int8Product::NeonBlocks => "smmla",
            #[cfg(target_arch = "aarch64")]
            Int8Product::NeonDots => "sdot",
            Int8Product::Widened => "f32 multiply-adds",
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
            Int8Product::Amx => true,
            _ => false,
        }
    }

    /// True if integers take less time than f32 operands.
    pub fn is_fast(self) -> bool {
        self != Int8Product::Widened
    }

    /// The bits in which the stored bytes of the left operand differ from its integers: `vpdpbusd` takes them without a sign,
    /// 128 larger.
    pub fn left_flip(self) -> u32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Product::Avx512 => 0x8080_8080,
            _ => 0,
        }
    }

    /// True if the right operand's words are in pairs, as [`pair_words`](super::pair_words) puts them.
    pub fn pairs_words(self) -> bool {
        match self {
            #[cfg(target_arch = "aarch64")]
            Int8Product::NeonBlocks => true,
            _ => false,
        }
    }

    /// Writes `left · right` for one tile to `sums`: the sums of the integers' products, plus the row's offset times the sum of
    /// the column's integers, times the scale of the row, times that of the column. Integers are from −127 to 127, no more than
    /// [`INT8_BLOCK`] in a row, and the bytes of the left ones have [`Int8Product::left_flip`] applied. The sums of products
    /// are exact, and the rest is the same on every processor with fused multiply-adds.
    #[inline(always)]
    pub fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        simd: S,
        left: Int8Rows<'_, ROWS>,
        right: Int8Columns<'_>,
        ahead: &[u8],
        sums: &mut [[S::f32s; VECTORS]; ROWS],
    ) {
        // Only x86's kernel prefetches.
        let _ = ahead;
        debug_assert!(left.words.len() * LINE * 4 <= INT8_BLOCK);
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Product::Amx if S::F32_LANES == 16 => {
                let sums = bytemuck::cast_slice_mut(sums.as_flattened_mut());
                return super::amx::int8::<ROWS, VECTORS>(left, right, ahead, sums);
            }
            #[cfg(target_arch = "x86_64")]
            Int8Product::Avx512 if S::F32_LANES == 16 => {
                let sums = bytemuck::cast_slice_mut(sums.as_flattened_mut());
                return super::avx512::int8::<ROWS, VECTORS>(left, right, ahead, sums);
            }
            #[cfg(target_arch = "x86_64")]
            Int8Product::Avx2 if S::F32_LANES == 8 => {
                let sums = bytemuck::cast_slice_mut(sums.as_flattened_mut());
                super::avx2::int8::<ROWS, VECTORS>(left.words, right.words, sums);
            }
            #[cfg(target_arch = "aarch64")]
            Int8Product::NeonBlocks if S::F32_LANES == 4 => {
                let sums = bytemuck::cast_slice_mut(sums.as_flattened_mut());
                super::neon::int8_blocks::<ROWS, VECTORS>(left.words, right.words, sums);
            }
            #[cfg(target_arch = "aarch64")]
            Int8Product::NeonDots if S::F32_LANES == 4 => {
                let sums = bytemuck::cast_slice_mut(sums.as_flattened_mut());
                super::neon::int8_dots::<ROWS, VECTORS>(left.words, right.words, sums);
            }
            _ => *sums = widened::<S, ROWS, VECTORS>(simd, left.words, right.words, self.left_flip()),
        }
        let ((columns, _), (totals, _)) = (S::as_simd_f32s(right.scales), S::as_simd_f32s(right.sums));
        for row in 0..ROWS {
            let (scale, offset) = (simd.splat_f32s(left.scales[row]), simd.splat_f32s(left.offsets[row]));
            for vector in 0..VECTORS {
                let sum = mul_add(simd, offset, totals[vector], sums[row][vector]);
                sums[row][vector] = simd.mul_f32s(simd.mul_f32s(sum, scale), columns[vector]);
            }
        }
    }
}

/// A tile of the left operand.
#[derive(Debug, Clone, Copy)]
pub struct Int8Rows<'a, const ROWS: usize> {
    /// The integers.
    pub words: &'a [WordGroup<ROWS>],
    /// The scale of each row.
    pub scales: &'a [f32],
    /// The offset of each row.
    pub offsets: &'a [f32],
}

/// A panel of the right operand.
#[derive(Debug, Clone, Copy)]
pub struct Int8Columns<'a> {
    /// The integers, a row of columns for each word of a left row, in pairs if [`Int8Product::pairs_words`] says so.
    pub words: &'a [u32],
    /// The scale of each column.
    pub scales: &'a [f32],
    /// The sum of the integers of each column.
    pub sums: &'a [f32],
}

/// The integer in byte `part` of a word.
pub fn int8_code(word: u32, part: usize) -> i8 {
    word.to_le_bytes()[part] as i8
}

/// The product with f32 instructions.
#[inline(always)]
fn widened<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: &[WordGroup<ROWS>],
    right: &[u32],
    flip: u32,
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    let (right, _) = S::as_simd_u32s(right);
    let (right, _) = right.as_chunks::<VECTORS>();
    let (right, _) = right.as_chunks::<LINE>();
    for (left, right) in left.iter().zip(right) {
        for step in 0..LINE {
            for part in 0..4 {
                let mut y = [simd.splat_f32s(0.0); VECTORS];
                for vector in 0..VECTORS {
                    y[vector] = part_to_f32::<S>(simd, right[step][vector], part);
                }
                for row in 0..ROWS {
                    let x = simd.splat_f32s(f32::from(int8_code(left[row][step] ^ flip, part)));
                    for vector in 0..VECTORS {
                        sums[row][vector] = mul_add(simd, x, y[vector], sums[row][vector]);
                    }
                }
            }
        }
    }
    sums
}

/// The integers in byte `part` of each word.
#[inline(always)]
fn part_to_f32<S: Simd>(simd: S, words: S::u32s, part: usize) -> S::f32s {
    // The integer plus 128 in the low bits of 2²³ adds to it.
    const SHIFTED: f32 = 8_388_608.0;
    let byte = simd.wrapping_dyn_shr_u32s(words, simd.splat_u32s(8 * part as u32));
    let byte = simd.xor_u32s(simd.and_u32s(byte, simd.splat_u32s(0xff)), simd.splat_u32s(SHIFTED.to_bits() | 0x80));
    simd.sub_f32s(simd.transmute_f32s_u32s(byte), simd.splat_f32s(SHIFTED + 128.0))
}
