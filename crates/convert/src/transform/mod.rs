//! The changes that a tensor can undergo, one small type for each, and the checks of its values.
//!
//! They work on pieces of a tensor. The order in which a step applies them is that in `execute/`.

mod cast;
mod finite;
mod fuse_weight_norm;
mod linear_quantize;
mod narrow;
mod pack_bits;
mod palettize;
mod span;
mod transpose;

pub use self::cast::Cast;
pub use self::finite::check_finite;
pub use self::fuse_weight_norm::FuseWeightNorm;
pub use self::linear_quantize::{CodeType, LinearCodes, LinearQuantize};
pub use self::narrow::narrow;
pub use self::palettize::{Histogram, Palette, Palettize};
pub use self::span::Span;
pub use self::transpose::Transpose;
