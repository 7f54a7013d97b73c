//! From a PyTorch checkpoint of MERT or HuBERT to a file that MLX and candle load.
//!
//! The way through is one line: a reader ([`mert_checkpoint`]) lists the checkpoint's tensors, [`Plan::new`] decides
//! what becomes of each (and refuses what it cannot account for), [`write::safetensors`] executes the
//! plan's steps, a tensor on each thread of the current rayon pool, a piece of it at a time.
//!
//! ```no_run
//! use mert_checkpoint::Source;
//! use mert_convert::{Plan, PlanOptions, write};
//!
//! let source = Source::open("pytorch_model.bin".as_ref())?;
//! let plan = Plan::new(&source, &PlanOptions::default())?;
//! let written = write::safetensors(&plan, &source, "model.safetensors".as_ref(), false, &|_| {})?;
//! println!("{} tensors, {} bytes", plan.steps.len(), written.bytes);
//! # Ok::<(), mert_convert::ConvertError>(())
//! ```

mod error;
mod other_encoder;
mod pattern;
mod plan;
mod preprocessor;
pub mod transform;
pub mod write;

pub use error::{ConvertError, Problem};
pub use plan::{ConfigOrigin, Dropped, Plan, PlanOptions, Step, StepInput};
pub use preprocessor::{PlannedPreprocessor, PreprocessorOptions, PreprocessorOrigin};

/// The name and version that converted files carry.
pub const GENERATOR: &str = concat!("mert-convert ", env!("CARGO_PKG_VERSION"));

pub(crate) type Result<T, E = ConvertError> = std::result::Result<T, E>;
