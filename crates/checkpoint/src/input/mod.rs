//! The file or folder that the user named.
//!
//! - `source.rs`: the weights and the configuration files beside them, opened.
//! - `locate.rs`: where the weights are, or what is there instead.

mod locate;
mod source;

pub use source::Source;
