//! Timing the forward pass.
//!
//! A [`Workload`] says what one run computes, an [`Engine`] runs it, [`interleaved`] times one engine or
//! several turn by turn, and a [`Row`] is what came of it, with the [memory](MemoryWatch) that it took and
//! the [arithmetic peak](FmaPeak) to see it against.

#[cfg(feature = "tch")]
mod against;
mod engine;
mod memory;
mod peak;
mod row;
mod timing;
mod workload;

#[cfg(feature = "tch")]
pub use against::{Libtorch, LibtorchModel};
pub use engine::{AGREEMENT, Engine, Runtime, nmse_between};
pub use memory::{MemoryScope, MemoryWatch, PeakMemory};
pub use peak::FmaPeak;
pub use row::{Comparison, Row};
pub use timing::{Timing, interleaved};
pub use workload::Workload;
