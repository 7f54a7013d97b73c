//! MusicGen's language model ([Copet et al. 2023](https://arxiv.org/abs/2306.05284)): a decoder over EnCodec's codes that
//! attends to a text, and in Instruct-MusicGen to the codes of the input, too.
//!
//! - `codes.rs`: codes by codebook and frame; `delay.rs`: the delay pattern in which the model sees them.
//! - `model.rs`: the weights; `layer.rs`: one layer; `positions.rs`: the sinusoids.
//! - `conditioning.rs`: the text as keys and values; `session.rs`: the forward pass with its caches.
//! - `forced.rs`: teacher forcing from any layer on; `guidance.rs`: classifier-free guidance; `trace.rs`: what the gate compares.

mod codes;
mod conditioning;
mod delay;
mod forced;
mod guidance;
mod layer;
mod model;
mod positions;
mod session;
mod trace;

pub use self::codes::Codes;
pub use self::conditioning::Conditioning;
pub use self::delay::DelayPattern;
pub use self::forced::{ForcedPass, ForcedPiece};
pub use self::guidance::guided;
pub use self::model::LanguageModel;
pub use self::session::Session;
pub use self::trace::Trace;
