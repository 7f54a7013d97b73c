//! Modes: named sets of a request and options, and what chooses among them while a performer plays.
//!
//! - `set.rs`: the modes of a file.
//! - `selector.rs`: the interface of all choices, and what they are given.
//! - `fixed.rs`, `commanded.rs`, `rules.rs`, `first_of.rs`: a choice by an option, by a line of a performer, by thresholds, and
//!   the first of several that makes one. A choice by a text model implements the same interface elsewhere.

mod commanded;
mod first_of;
mod fixed;
mod rules;
mod selector;
mod set;

pub use self::commanded::{Commanded, ModeCommands};
pub use self::first_of::FirstOf;
pub use self::fixed::Fixed;
pub use self::rules::{Range, Rules, Thresholds};
pub use self::selector::{ModeChoice, ModeInput, ModeSelector, RunningStatistics};
pub use self::set::{Mode, Modes};

#[cfg(test)]
mod tests;
