//! The changes that a tensor can undergo, one small type for each, and the checks of its values.
//!
//! They work on pieces of a tensor. `execute/` runs a chain of them.

mod add_scaled;
mod cast;
mod finite;
mod fuse_weight_norm;
mod ggml_blocks;
mod linear_quantize;
mod merge_lora;
mod narrow;
mod pack_bits;
mod palettize;
mod quantize;
mod rename;
mod span;
mod transpose;

use serde::Serialize;

pub use self::add_scaled::AddScaled;
pub use self::cast::Cast;
pub use self::finite::check_finite;
pub use self::fuse_weight_norm::FuseWeightNorm;
pub use self::ggml_blocks::GgmlBlocks;
pub(crate) use self::ggml_blocks::{q4_1_blocks, q8_0_blocks, q8_0_values};
pub use self::linear_quantize::{CodeType, LinearCodes, LinearQuantize};
pub use self::merge_lora::{LoraFactors, MergeLora};
pub use self::narrow::narrow;
pub use self::palettize::{Histogram, Palette, Palettize};
pub use self::quantize::{Quantize, QuantizedRows};
pub use self::rename::Rename;
pub use self::span::Span;
pub use self::transpose::Transpose;

/// One change in the chain of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Another name.
    Rename(Rename),
    /// One weight from the magnitude and the direction of a weight norm.
    FuseWeightNorm(FuseWeightNorm),
    /// The direction of a weight norm as it is. Its norms are checked, since a program divides by them.
    WeightNormDirection(FuseWeightNorm),
    /// The norms of a fused weight, as the magnitude with which the weight itself is the direction.
    WeightNormMagnitude(FuseWeightNorm),
    /// The sum of a weight and an adapter's change.
    MergeLora(MergeLora),
    /// The sum of a bias and an adapter's change.
    AddScaled(AddScaled),
    /// The sum of two biases that a program stores as one, such as those of an LSTM.
    SumBiases,
    /// Another order of the axes.
    Transpose(Transpose),
    /// Another element type.
    Cast(Cast),
    /// Packed codes, with scales for groups of values.
    Quantize(Quantize),
    /// ggml's blocks: of the values, or of codes.
    GgmlBlocks(GgmlBlocks),
    /// Codes of a Core ML package, with scales for blocks of values.
    LinearQuantize(LinearQuantize),
    /// Indices of a Core ML package into a table of values.
    Palettize(Palettize),
}
