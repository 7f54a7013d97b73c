//! The gate of MusicGen bundles: each part is fed what PyTorch fed its own, and compared with what that returned.
//!
//! - `check.rs`: a bundle and its references; `parts.rs`: the run of each part; `against.rs`: one bundle against another.
//! - `reference.rs`: the arrays of a reference.
//! - `codes.rs`: the codes of quantized weights beside the floats; `floats.rs`: the weights that both bundles store as floats;
//!   `tensors.rs`: the tensors of a folder; `divergence.rs`: the KL divergence of logits.
//! - `configs.rs`: the files beside the weights of two bundles.
//! - `limits.rs`: what is judged how strictly, and why; `precision.rs`: the limits of each part of a bundle.
//! - `missing.rs`: parts that the bundle lacks.
//! - `verdict.rs`: the verdict; `render.rs`: the verdict as text, Markdown and JUnit.

mod against;
mod check;
mod codes;
mod configs;
mod divergence;
mod floats;
mod limits;
mod missing;
mod parts;
mod precision;
mod reference;
mod render;
mod tensors;
mod verdict;

pub use self::check::{BundleCheck, is_bundle};
pub use self::divergence::{Divergence, divergence};
pub use self::limits::{BundleLimits, Exactness};
pub use self::missing::BundlePart;
pub use self::reference::MusicgenReference;
pub use self::render::{junit, markdown, text};
pub use self::verdict::{BundleComparison, BundleVerdict, Figure, PartVerdict};
