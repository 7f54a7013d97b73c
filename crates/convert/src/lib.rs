//! Conversion of PyTorch checkpoints of MERT and HuBERT to files that MLX and candle load, and to Core ML packages.
//!
//! The data flow is one line: a reader ([`mert_checkpoint`]) lists the checkpoint's tensors; [`Plan::new`] decides the
//! treatment of each, and refuses tensors that it cannot account for; a [`write::Target`] executes the plan's steps, a tensor
//! on each thread of the current rayon pool, a piece of it at a time.
//!
//! ```
//! use mert_checkpoint::Source;
//! use mert_convert::{Plan, PlanOptions, write};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! let input = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/pytorch_model.bin");
//! let output = folder.path().join("model.safetensors");
//! let source = Source::open(input.as_ref())?;
//! let plan = Plan::new(&source, &PlanOptions::default())?;
//! assert_eq!(plan.steps.len(), 209);
//! let written = write::safetensors(&plan, &source, &output, false, &|_| {})?;
//! assert_eq!(written.bytes, std::fs::metadata(&output).unwrap().len());
//! # Ok::<(), mert_convert::ConvertError>(())
//! ```
//!
//! # Map
//! Each line needs only what is below it:
//! - [`musicgen`]: MusicGen, whose models are not encoders: its files, plan and bundle.
//! - [`write`](mod@write): the output formats, a module for each.
//! - `execute/`: the execution of a step.
//! - `plan/`: the plan, as data.
//! - `programs/`: the programs for which models are written.
//! - [`transform`]: the changes that a tensor can undergo, one small type for each.
//! - `error/`: the errors, the problems that one error lists, and advice.

mod error;
mod execute;
pub mod musicgen;
mod plan;
mod programs;
pub mod transform;
pub mod write;

pub use error::{ConvertError, Problem};
pub use execute::{Sink, run_step};
pub use plan::{
    Compression, CompressionScheme, ConfigOrigin, Dropped, Evidence, LayerCut, Plan, PlanOptions, PlannedAdapter,
    PlannedPreprocessor, PreprocessorOptions, PreprocessorOrigin, QuantizeOptions, Recognized, Step, StepInput,
};
pub use programs::{MODEL_FOLDER_FILES, MODEL_WEIGHTS, Program};

/// The name and version that converted files carry.
pub const GENERATOR: &str = concat!("mert-convert ", env!("CARGO_PKG_VERSION"));

pub(crate) type Result<T, E = ConvertError> = std::result::Result<T, E>;
