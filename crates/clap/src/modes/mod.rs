//! Modes: names with vectors of texts, and the choice of one of them by the vector of a sound.
//!
//! - `file.rs`: the file of vectors that Python wrote.
//! - `classifier.rs`: scores, threshold, and the rules against flapping.

mod classifier;
mod file;

pub use classifier::{Classifier, Decision, Reason, Settings};
pub use file::Modes;
