//! The arithmetic of a model: the instructions of its kernels, and the numbers that its products multiply.

use mert_arch::{ComputeType, Dtype, Int8Exceptions};
use mert_simd::{Bf16Product, Factors, INT8_BLOCK, Int8Product, Isa, LINE, TileRegisters};

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
        // Looking for them asks Linux for tile registers, which f32 does without.
        let (bf16, int8) = match factors {
            Factors::F32 => (Bf16Product::Widened, Int8Product::Widened),
            Factors::Bf16 | Factors::Int8 => (Bf16Product::detect(isa), Int8Product::detect(isa)),
        };
        Arithmetic { isa, factors, bf16, int8 }
    }

    /// The same instruction set with other numbers.
    pub(crate) fn with(self, factors: Factors) -> Self {
        match self.factors {
            Factors::F32 => Arithmetic::new(self.isa, factors),
            _ => Arithmetic { factors, ..self },
        }
    }

    /// Configures the tile registers that products of these numbers use on this thread, until the result is dropped; `None` if they
    /// use none.
    pub(crate) fn prepare(self, factors: Factors, tile_rows: usize) -> Option<TileRegisters> {
        match factors {
            Factors::F32 => None,
            Factors::Bf16 => self.bf16.prepare(tile_rows),
            Factors::Int8 => self.int8.prepare(tile_rows),
        }
    }

    /// True if the words of right operands are in pairs, as [`mert_simd::pair_words`] puts them.
    pub(crate) fn pairs_words(self) -> bool {
        match self.factors {
            Factors::F32 => false,
            Factors::Bf16 => self.bf16.pairs_words(),
            Factors::Int8 => self.int8.pairs_words(),
        }
    }

    /// The numbers that attention multiplies. 8-bit integers would need a scale for each block of scores; in their place is bf16,
    /// or f32 on a processor where that is faster.
    pub(crate) fn attention_factors(self) -> Factors {
        match self.factors {
            Factors::Int8 if self.bf16.is_fast() => Factors::Bf16,
            Factors::Int8 => Factors::F32,
            factors => factors,
        }
    }
}

/// The numbers that modules multiply where they differ from those of the model, by path.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModuleFactors(Vec<(String, Factors)>);

impl ModuleFactors {
    /// No module differs.
    pub(crate) const NONE: &ModuleFactors = &ModuleFactors(Vec::new());

    /// The modules that multiply floats in a model that computes in 8-bit integers.
    pub(crate) fn of(exceptions: &Int8Exceptions) -> Self {
        let factors = |dtype| if dtype == Dtype::Bf16 { Factors::Bf16 } else { Factors::F32 };
        ModuleFactors(exceptions.iter().map(|(path, dtype)| (path.to_string(), factors(dtype))).collect())
    }

    /// The numbers of the module that the weights at `path` belong to, if it differs.
    pub(crate) fn at(&self, path: &str) -> Option<Factors> {
        let belongs =
            |module: &str| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.0.iter().find(|(module, _)| belongs(module)).map(|(_, factors)| *factors)
    }
}

/// The arithmetic besides f32 that this processor has instructions for, so that it takes less time.
pub(crate) fn fast_compute_types() -> Vec<ComputeType> {
    let arithmetic = Arithmetic::new(Isa::detect(), Factors::Int8);
    let bf16 = arithmetic.bf16.is_fast().then_some(ComputeType::BF16);
    bf16.into_iter().chain(arithmetic.int8.is_fast().then_some(ComputeType::Int8)).collect()
}

/// True if the products of `compute` use tile registers.
pub(crate) fn uses_tile_registers(compute: ComputeType) -> bool {
    let Arithmetic { bf16, int8, .. } = Arithmetic::new(Isa::detect(), Factors::Int8);
    match compute {
        ComputeType::BF16 => bf16.uses_tile_registers(),
        ComputeType::Int8 => int8.uses_tile_registers(),
        _ => false,
    }
}

/// The instruction set of the kernels, with those for bf16 and 8-bit integers: `avx512 (bf16: vdpbf16ps, int8: vpdpbusd)`.
pub(crate) fn instruction_set() -> String {
    let Arithmetic { isa, bf16, int8, .. } = Arithmetic::new(Isa::detect(), Factors::Int8);
    format!("{} (bf16: {}, int8: {})", isa.name(), bf16.name(), int8.name())
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
