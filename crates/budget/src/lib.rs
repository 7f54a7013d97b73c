//! The precision budget: bits for each linear layer of a model, such that a limit on the error of its hidden states holds, or
//! the file has at most a given size.
//!
//! The error that each layer adds in each encoding is measured on calibration clips, with the CPU engine. A choice that is
//! optimal if errors add up is assembled, measured on held-out clips, and repaired until the limit holds there.
//!
//! ```no_run
//! use mert_budget::{Audio, AudioSource, Goal, Study, Subject};
//! use mert_checkpoint::Source;
//! use mert_convert::{PlanOptions, QuantizeOptions};
//!
//! let source = Source::open("MERT-v1-95M".as_ref())?;
//! let options = PlanOptions { quantize: Some(QuantizeOptions::default()), ..PlanOptions::default() };
//! let subject = Subject::new(&source, &options)?;
//! let audio = Audio::load(&AudioSource::BuiltIn, subject.plan())?;
//! let study = Study::new(&subject, &audio, &|_| {})?;
//! let goal = Goal::Error("pooled>=0.9995,frame>=0.998,nmse<=1e-3".parse()?);
//! let chosen = study.search(goal, &|_| {})?;
//! println!("{} bytes, held-out {}", chosen.report.bytes, chosen.report.held_out.worst);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Int8Study`] chooses in the same way which modules of a converted file multiply 8-bit integers, and which keep floats.
//!
//! For MusicGen the error is the KL divergence of the logits, and the choice and its repair are the same.
//!
//! # Map
//! Each line needs only what is below it:
//! - `int8/`: the modules that keep floats where a forward pass computes in 8-bit integers.
//! - `musicgen/`: language models, beside the encoders of the following lines.
//! - `study.rs`: the measurements of a model, and choices for goals; `repair.rs`: the repair of a choice, for both.
//! - `choice/`: the choice by predicted errors, for both; `mix.rs`: a mix as options of a conversion.
//! - `report.rs`: the result as data; `written.rs`: the errors of a written model.
//! - `sensitivity.rs`: the error that each layer adds in each encoding.
//! - `clips.rs`: clips with their reference hidden states; `losses.rs`: the errors on them; `worst_errors.rs`: the worst.
//! - `subject.rs`: the model, in any mix of encodings; `decode.rs`: the values of quantized weights.
//! - `audio.rs`: calibration and held-out clips; `goal.rs`: the limits, as users write them.

mod audio;
mod choice;
mod clips;
mod decode;
mod error;
mod goal;
mod int8;
mod losses;
mod mix;
mod musicgen;
mod repair;
mod report;
mod sensitivity;
mod study;
mod subject;
mod worst_errors;
mod written;

pub use audio::{Audio, AudioDescription, AudioSource, Clip};
pub use error::BudgetError;
pub use goal::{Budget, ByteSize, Criterion, Goal};
pub use int8::{Int8Choice, Int8ModuleReport, Int8Report, Int8Study};
pub use musicgen::{
    Divergences, GroupReport, KlBudget, MusicgenBudgetReport, MusicgenChoice, MusicgenCost, MusicgenGoal,
    MusicgenGroup, MusicgenStudy, MusicgenSubject, MusicgenTrial, PieceDivergence,
};
pub use report::{BudgetReport, LayerReport, Tightest, Trial};
pub use study::{Chosen, Study};
pub use subject::{Candidate, Group, Subject};
pub use worst_errors::WorstErrors;
pub use written::fidelity;

/// Something that has just been done, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The preparation for the measurements.
    Preparing(&'a str),
    /// The number of encodings of layers that will be measured.
    Measurements(usize),
    /// An encoding of a layer is measured.
    Measured(&'a str),
    /// A mix of encodings is assembled and measured, the first of which is 1.
    Assembled(usize),
}

pub(crate) type Result<T, E = BudgetError> = std::result::Result<T, E>;
