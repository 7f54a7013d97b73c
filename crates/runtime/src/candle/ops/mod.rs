//! The operations of the candle engine, made of candle's own; a faster kernel replaces one of them.
//!
//! Every function takes and returns channels-last activations, `(batch, frames, channels)`. Norms and softmax compute
//! in f32 in any dtype of the activations: sums over thousands of half-precision values lose the result.

mod activation;
mod attention;
mod conv1d;
mod norm;

pub(crate) use activation::activate;
pub(crate) use attention::{QUERY_BLOCK, scaled_dot_product_attention};
pub(crate) use conv1d::Conv1d;
pub(crate) use norm::{GroupNorm, LayerNorm};
