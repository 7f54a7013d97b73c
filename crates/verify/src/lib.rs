//! The release gate: whether a converted model still computes what PyTorch computes, on every layer.
//!
//! A [`Check`] names a converted model and its references. A [`Reference`] holds the hidden states that PyTorch returned
//! for a clip, a [`candidate`] runs the converted model on the same clip, [`metrics`] measure the distance between the
//! two, and the [`gate`] judges it under a named [`Tolerance`]. Anything that cannot be compared fails: a NaN, a missing
//! layer, another number of frames, nothing at all.
//!
//! ```
//! use std::path::Path;
//!
//! use mert_verify::{Check, report};
//!
//! let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/mert-tiny");
//! let check = Check {
//!     model: fixture.join("model.safetensors"),
//!     references: vec![fixture.join("reference.npz")],
//!     ..Check::default()
//! };
//! let verdict = check.run()?;
//! assert!(verdict.passed());
//! for comparison in &verdict.comparisons {
//!     println!("{}", report::summary::headline(comparison));
//!     for layer in &comparison.layers {
//!         let metrics = layer.metrics.as_ref().expect("a layer that passed was measured");
//!         println!("hidden state {}: NMSE {:.1e}", layer.layer, metrics.nmse);
//!         assert!(metrics.nmse < 2e-5);
//!     }
//! }
//! # Ok::<(), mert_verify::VerifyError>(())
//! ```

mod arithmetic;
pub mod candidate;
mod check;
mod encoding;
mod error;
pub mod fixture;
pub mod gate;
pub mod gate_file;
pub mod metrics;
pub mod musicgen;
pub mod npz;
pub mod quantized;
pub mod reference;
pub mod report;
mod tolerance;
mod tracks;

pub use arithmetic::ArithmeticVerdict;
pub use check::{Check, Original};
pub use encoding::ModelEncoding;
pub use error::VerifyError;
pub use reference::Reference;
pub use tolerance::{Limits, Tolerance, ToleranceOverride, Tolerances};
pub use tracks::Tracks;

pub(crate) type Result<T, E = VerifyError> = std::result::Result<T, E>;
