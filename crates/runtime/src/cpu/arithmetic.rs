//! The arithmetic of a model: the instructions of its kernels, and the numbers that its products multiply.

use mert_simd::{Bf16Product, Factors, INT8_BLOCK, Int8Product, Isa, LINE};

/// The instructions of a model's kernels, and the numbers that the products of its large layers multiply. Everything but these
/// factors is in f32: sums, norms, softmax, activation functions and hidden states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arithmetic {
    pub(crate) isa: Isa,
    pub(crate) factors: Factors,
    pub(crate) bf16: Bf16Product,
    pub(crate) int8: Int8Product,
}

impl Arithmetic {
    pub(crate) fn new(isa: Isa, factors: Factors) -> Self {
        Arithmetic { isa, factors, bf16: Bf16Product::detect(isa), int8: Int8Product::detect(isa) }
    }

    /// The same instructions with other numbers.
    pub(crate) fn with(self, factors: Factors) -> Self {
        Arithmetic { factors, ..self }
    }

    /// The numbers that attention multiplies: 8-bit integers would need a scale for each block of scores.
    pub(crate) fn attention_factors(self) -> Factors {
        match self.factors {
            Factors::F32 => Factors::F32,
            Factors::Bf16 | Factors::Int8 => Factors::Bf16,
        }
    }
}

/// The inner words that are summed in registers before a result is written, for an inner dimension of `values` values: equal
/// parts of whole lines. Integers have a scale for each part of a row.
pub(crate) fn inner_block(factors: Factors, values: usize) -> usize {
    let words = factors.words(values);
    let most = match factors {
        Factors::F32 | Factors::Bf16 => 768,
        Factors::Int8 => INT8_BLOCK / Factors::Int8.in_word(),
    };
    words.div_ceil(words.div_ceil(most).max(1)).next_multiple_of(LINE)
}
