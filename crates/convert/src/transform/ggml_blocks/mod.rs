//! The packing of matrices into ggml's blocks of 32 values.
//!
//! - `q4_1.rs`: MLX's 4-bit codes in blocks of `Q4_1`; `q8_0.rs`: ggml's own rule for `Q8_0`.

mod q4_1;
mod q8_0;

use serde::Serialize;

pub(crate) use self::q4_1::q4_1_blocks;
pub(crate) use self::q8_0::{q8_0_blocks, q8_0_values};

/// A type of [ggml](https://github.com/ggml-org/ggml) whose rows are blocks of 32 values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum GgmlBlocks {
    /// Codes of 4 bits, and a scale d and a minimum m in f16: d · q + m. They hold the codes, scales and biases of MLX's affine
    /// 4-bit groups of 32 and 64 without loss.
    #[serde(rename = "Q4_1")]
    Q4_1,
    /// Codes of 8 bits, and a scale d in f16: d · q.
    #[serde(rename = "Q8_0")]
    Q8_0,
}

impl GgmlBlocks {
    /// The number of values in a block.
    pub const LEN: usize = 32;

    /// The number of bytes of a block.
    pub const fn byte_len(self) -> usize {
        match self {
            GgmlBlocks::Q4_1 => 2 + 2 + GgmlBlocks::LEN / 2,
            GgmlBlocks::Q8_0 => 2 + GgmlBlocks::LEN,
        }
    }

    /// The name of the type in ggml.
    pub const fn name(self) -> &'static str {
        match self {
            GgmlBlocks::Q4_1 => "Q4_1",
            GgmlBlocks::Q8_0 => "Q8_0",
        }
    }
}
