//! The kernels, over candle's own operations: the seam behind which faster ones go.
//!
//! Every function takes and returns channels-last activations, `(batch, frames, channels)`. Norms and
//! softmax compute in f32 whatever the activations' type: sums over thousands of half-precision values
//! lose the result.

mod activation;
mod attention;
mod conv1d;
mod norm;

pub(crate) use activation::activate;
pub(crate) use attention::scaled_dot_product_attention;
pub(crate) use conv1d::Conv1d;
pub(crate) use norm::{GroupNorm, LayerNorm};
