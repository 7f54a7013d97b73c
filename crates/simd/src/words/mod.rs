//! Products of bf16 numbers and of 8-bit integers, packed as the f32 ones are, with words in the place of floats.
//!
//! A word of 32 bits holds two bf16 numbers or four integers, from lines of 16 values that follow each other: word i of a line
//! of words holds value i of each of those lines, the first in its low bits. So one broadcast word multiplies a register of
//! words, and packing converts whole registers and moves nothing between lanes.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bf16;
mod int8;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub use amx::TileRegisters;
pub use bf16::Bf16Product;
pub use int8::{INT8_BLOCK, Int8Columns, Int8Product, Int8Rows, int8_code};
pub use pack::{
    Int8Scale, bf16_parts, bf16_words, int8_words, pack_bf16, pack_bf16_part, pack_bf16_row, pack_int8_row, pair_words,
    round_to_bf16,
};

use crate::buffer::LINE;

/// AMX's tile registers, which these processors do not have.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Debug)]
pub struct TileRegisters(std::marker::PhantomData<*const ()>);

#[cfg(not(target_arch = "x86_64"))]
impl TileRegisters {
    fn configure(_: usize) -> Self {
        TileRegisters(std::marker::PhantomData)
    }
}

/// The numbers that a product multiplies. Sums are in f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Factors {
    /// One f32 in a word.
    #[default]
    F32,
    /// Two bf16 numbers in a word.
    Bf16,
    /// Four 8-bit integers in a word.
    Int8,
}

impl Factors {
    /// The values in a word.
    pub const fn in_word(self) -> usize {
        match self {
            Factors::F32 => 1,
            Factors::Bf16 => 2,
            Factors::Int8 => 4,
        }
    }

    /// The values in a line of words, of which an inner dimension is filled up to a multiple.
    pub const fn in_line(self) -> usize {
        self.in_word() * LINE
    }

    /// The words that `values` values of a row take, in whole lines.
    pub const fn words(self, values: usize) -> usize {
        values.next_multiple_of(self.in_line()) / self.in_word()
    }
}

/// `LINE` words of each row of a tile of the left operand, as [`LeftGroup`](crate::LeftGroup) has floats.
pub type WordGroup<const ROWS: usize> = [[u32; LINE]; ROWS];

/// The groups of a tile of the left operand.
#[inline(always)]
pub fn word_groups<const ROWS: usize>(tile: &[u32]) -> &[WordGroup<ROWS>] {
    tile.as_chunks::<LINE>().0.as_chunks::<ROWS>().0
}
