//! Output formats: one file for each target.

mod atomic;
mod safetensors;

pub use self::safetensors::{Written, safetensors};
