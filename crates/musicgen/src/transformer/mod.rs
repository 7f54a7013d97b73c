//! The parts that the language model and the transformer over the input's codes share: attention over stored keys and values,
//! the feed-forward block, and norms.
//!
//! Activations are rows of `width` values in f32, one row for each step, and the steps of each row of the batch one after
//! another.

mod attention;
mod feed_forward;
mod head_rows;
mod norm;

pub(crate) use self::attention::{Attended, Attention, attend};
pub(crate) use self::feed_forward::FeedForward;
pub(crate) use self::head_rows::{HeadRows, Precision};
pub(crate) use self::norm::LayerNorm;
