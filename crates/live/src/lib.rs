//! Live use of tokens and an oracle: blocks of sound in, timed MIDI messages out.

pub mod answer;
mod error;
pub mod mode;

pub use error::LiveError;

pub(crate) type Result<T, E = LiveError> = std::result::Result<T, E>;
