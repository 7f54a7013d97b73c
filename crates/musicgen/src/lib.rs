//! MusicGen and Instruct-MusicGen from a bundle: the forward pass with weights as they are stored, and generation.
//!
//! The language model runs on the CPU in f32, with the bundle's weights mapped into memory: floats of 32 or 16 bits, or MLX's
//! affine codes, which the products decode as they read them. T5 and EnCodec are those of `mert-t5` and `mert-encodec`.
//!
//! # Map
//! Each line needs only what is below it:
//! - [`generate`]: from a request to samples: sampling, windows, progress.
//! - `lm/`: the language model: layers, caches, the delay pattern, classifier-free guidance.
//! - `cp/`: the transformer of Instruct-MusicGen over the input's codes, whose keys and values the language model attends to.
//! - `transformer/`: what both share: attention, the feed-forward block, norms.
//! - `codec.rs`: EnCodec for all channels of the audio.
//! - [`bundle`]: the folder, its configuration and its tensors.
//! - `error.rs`: the errors.

pub mod bundle;
mod codec;
mod cp;
mod error;
pub mod generate;
mod lm;
mod transformer;

pub use codec::ChannelCodec;
pub use cp::{CpEncoder, CpPrefix, LayerPrefix};
pub use error::MusicgenError;
pub use lm::{Codes, Conditioning, DelayPattern, ForcedPass, ForcedPiece, LanguageModel, Session, Trace, guided};

pub(crate) type Result<T, E = MusicgenError> = std::result::Result<T, E>;
