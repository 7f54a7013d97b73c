//! The changes that a tensor can undergo, one small type for each, and the checks of its values.
//!
//! They work on pieces of a tensor. The order in which a step applies them is that in `execute/`.

mod cast;
mod finite;
mod fuse_weight_norm;
mod ggml_blocks;
mod narrow;
mod span;
mod transpose;

pub use self::cast::Cast;
pub use self::finite::check_finite;
pub use self::fuse_weight_norm::FuseWeightNorm;
pub use self::ggml_blocks::GgmlBlocks;
pub use self::narrow::narrow;
pub use self::span::Span;
pub use self::transpose::Transpose;
