//! The precision budget of MusicGen bundles: bits for groups of a layer's weights, such that the KL divergence of the logits from
//! the unquantized model stays within a limit, or the files of weights within a size.
//!
//! What each group costs in each width is measured with the forward pass of `mert-musicgen` on given codes, in bundles that
//! `mert-convert` writes for that. Choice and repair are those of encoders.
//!
//! # Map
//! Each line needs only what is below it:
//! - `study.rs`: the measurements of a model, and choices for goals; `report.rs`: the result as data.
//! - `sensitivity.rs`: the divergence that each group adds in each width.
//! - `pieces.rs`: the codes that are given; `drawn.rs`: codes drawn by the model itself.
//! - `bundles.rs`: the model in every width, and in any mix of them.
//! - `subject.rs`: the groups with the widths that they can have; `cost.rs`: what measuring them will take.
//! - `divergence.rs`: the KL divergence; `goal.rs`: the limits.

mod bundles;
mod cost;
mod divergence;
mod drawn;
mod goal;
mod pieces;
mod report;
mod sensitivity;
mod study;
mod subject;

pub use self::cost::MusicgenCost;
pub use self::divergence::{Divergences, PieceDivergence};
pub use self::goal::{KlBudget, MusicgenGoal};
pub use self::report::{GroupReport, MusicgenBudgetReport, MusicgenTrial};
pub use self::study::{MusicgenChoice, MusicgenStudy};
pub use self::subject::{MusicgenGroup, MusicgenSubject};
