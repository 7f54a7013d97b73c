//! Output formats: one file for each target.

mod atomic;
mod positional;
mod safetensors;
mod writeback;

pub use self::atomic::discard_partial;
pub use self::safetensors::{Written, safetensors};
