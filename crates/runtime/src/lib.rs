//! The MERT/HuBERT forward pass in candle.
//!
//! ```no_run
//! use mert_runtime::{Dtype, DeviceKind, Model};
//!
//! let device = DeviceKind::Cpu.open()?;
//! let model = Model::open("model.safetensors".as_ref(), Dtype::F32, &device)?;
//! let samples = vec![0.0f32; 24_000]; // one second at the model's rate, zero mean and unit variance
//! let states = model.hidden_states(&samples, &[6])?; // hidden state 6, the output of layer 6
//! assert_eq!(states[0].dims()[1..], [74, 768]); // (batch, frames, width)
//! # Ok::<(), mert_runtime::Error>(())
//! ```
//!
//! There are two engines behind [`Model`]: `cpu`, packed and vectorised, for f32 on the processor, and
//! `candle`, in candle's own operations, for GPUs and for half-precision arithmetic. In both, modules
//! bear the names of the checkpoint's own: `feature_extractor`, `feature_projection`, `encoder`.

mod candle;
mod converted_file;
mod cpu;
mod device;
mod error;
mod model;

/// The crate whose types this API names, in the version that it is built with.
pub use candle_core;
/// Named tensors on a device, from which [`Model::load`] takes weights.
pub use candle_nn::VarBuilder;
pub use converted_file::ConvertedFile;
pub use device::DeviceKind;
pub use error::Error;
/// The element type in which the forward pass computes, whatever the type of the file.
///
/// The 16-bit types are for GPUs. They also run on the CPU, slowly, which shows without a GPU what half-precision
/// arithmetic costs in accuracy.
pub use mert_arch::Dtype;
pub use model::{Model, Workspace};
