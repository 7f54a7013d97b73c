//! The measuring of forward passes: time, memory, and the arithmetic peak of the processor. It is apart from the gate,
//! whose verdicts do not depend on speed, and from the command, which parses and prints.
//!
//! A [`Workload`] is what one run computes, an [`Engine`] runs it, [`interleaved`] times one engine or several in turn,
//! and a [`Row`] is the result, with the [memory](MemoryWatch) used and the [arithmetic peak](FmaPeak) for comparison.

mod engine;
#[cfg(feature = "tch")]
mod libtorch;
mod memory;
mod peak;
mod row;
mod timing;
mod workload;

pub(super) use engine::{AGREEMENT, Engine, RuntimeEngine, nmse_between};
#[cfg(feature = "tch")]
pub(super) use libtorch::LibtorchEngine;
pub(super) use memory::{MemoryScope, MemoryWatch, PeakMemory};
pub(super) use peak::FmaPeak;
pub(super) use row::{RelativeTime, Row};
pub(super) use timing::{RunTimes, interleaved};
pub(super) use workload::Workload;
