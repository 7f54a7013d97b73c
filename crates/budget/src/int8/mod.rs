//! The choice of the modules that keep floats where a forward pass computes in 8-bit integers: as few as hold a limit on the error
//! of the hidden states.
//!
//! # Map
//! Each line needs only what is below it:
//! - `study.rs`: the measurements of a converted file, and the choices that they lead to.
//! - `report.rs`: the result as data.

mod report;
mod study;
#[cfg(test)]
mod tests;

pub use report::{Int8ModuleReport, Int8Report};
pub use study::{Int8Choice, Int8Study};
