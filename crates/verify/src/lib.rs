//! The release gate: does a converted model still compute what PyTorch computes, on every layer?
//!
//! A [`Reference`] says what PyTorch returned for an input, a [`candidate`] runs the converted model on
//! the same input, [`metrics`] measure how far the two are apart, and a [`gate`] decides under a named
//! [`Tolerance`]. Whatever cannot be compared fails: a NaN, a missing layer, another frame count,
//! nothing at all.

pub mod bench;
pub mod candidate;
mod closing_norm;
mod error;
pub mod fixture;
pub mod gate;
mod ioutil;
pub mod job;
pub mod metrics;
pub mod npz;
pub mod reference;
pub mod report;
pub mod signal;
pub mod suite;
mod tolerance;
pub mod tracks;
mod verify;

pub use closing_norm::ClosingNorm;
pub use error::VerifyError;
pub use reference::Reference;
pub use report::Report;
pub use tolerance::{Limits, POOLED_COSINE_FLOOR, Tolerance, ToleranceOverride, Tolerances};
pub use verify::{Options, verify_model};

pub(crate) type Result<T, E = VerifyError> = std::result::Result<T, E>;
