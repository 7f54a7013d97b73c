//! T5's encoder ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683)) with its tokenizer: a text as the states that MusicGen's
//! cross-attention reads.
//!
//! [`T5Encoder`] computes what transformers'
//! [`T5EncoderModel`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/t5/modeling_t5.py) returns for one
//! text without padding, in f32 whatever the type of the weights: in f16 the sums of its feed-forward blocks overflow.
//!
//! ```
//! use candle_core::Device;
//! use mert_t5::T5Encoder;
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/t5-tiny");
//! let t5 = T5Encoder::open(folder.as_ref(), &Device::Cpu)?;
//! let text = t5.encode("Music piece. Instruct: Only Drums.")?;
//! assert_eq!(text.states.len(), text.ids.len() * t5.config().d_model);
//! # Ok::<(), mert_t5::T5Error>(())
//! ```
//!
//! # Map
//! - `encoder.rs`: all of it behind one type; `tokenizer.rs`: texts to numbers.
//! - `layer.rs`: one layer: attention and the feed-forward block; `position_bias.rs`: the bias by distance that all layers share.
//! - `norm.rs`: the norm without a mean; `weights.rs`: the tensors of a checkpoint, each accounted for.

mod encoder;
mod error;
mod layer;
mod norm;
mod position_bias;
mod tokenizer;
mod weights;

pub use encoder::{EncodedText, T5Encoder};
pub use error::T5Error;

pub(crate) type Result<T, E = T5Error> = std::result::Result<T, E>;
