//! The file or folder that the user named.
//!
//! - `source.rs`: the weights and the configuration files beside them, opened.
//! - `plain.rs`: the weights alone, under the names of the file.
//! - `locate.rs`: where the weights are, or what is there instead.

mod locate;
mod plain;
mod source;

pub use plain::{PlainCheckpoint, open_plain, open_weights};
pub use source::Source;
