//! From a PyTorch checkpoint of MERT or HuBERT to a file that MLX and candle load.
//!
//! The way through is one line: a [`reader`] lists the checkpoint's tensors, [`Plan::new`] decides
//! what becomes of each (and refuses what it cannot account for), [`write::safetensors`] executes the
//! plan's steps, a tensor on each thread of the current rayon pool, a piece of it at a time.
//!
//! ```no_run
//! use mert_convert::{Plan, PlanOptions, Source, write};
//!
//! let source = Source::open("pytorch_model.bin".as_ref())?;
//! let plan = Plan::new(&source, &PlanOptions::default())?;
//! let written = write::safetensors(&plan, &source, "model.safetensors".as_ref(), false, &|_| {})?;
//! println!("{} tensors, {} bytes", plan.steps.len(), written.bytes);
//! # Ok::<(), mert_convert::ConvertError>(())
//! ```

mod digest;
mod error;
pub mod hub;
mod input;
mod other_encoder;
mod pattern;
mod plan;
mod prefix;
mod preprocessor;
pub mod reader;
mod source;
pub mod transform;
pub mod write;

pub use digest::{sha256_file, sha256_output};
pub use error::{ConvertError, Problem};
pub use plan::{ConfigOrigin, Dropped, Plan, PlanOptions, Step, StepInput};
pub use preprocessor::{PlannedPreprocessor, PreprocessorOptions, PreprocessorOrigin};
pub use source::Source;

/// The name and version that converted files carry.
pub const GENERATOR: &str = concat!("mert-convert ", env!("CARGO_PKG_VERSION"));

pub(crate) type Result<T, E = ConvertError> = std::result::Result<T, E>;
