//! The MERT/HuBERT forward pass in candle.
//!
//! ```no_run
//! use mert_runtime::{ComputeDtype, DeviceKind, Model};
//!
//! let device = DeviceKind::Cpu.open()?;
//! let model = Model::open("model.safetensors".as_ref(), ComputeDtype::F32, &device)?;
//! let samples = vec![0.0f32; 24_000]; // one second at the model's rate, zero mean and unit variance
//! let states = model.hidden_states(&samples, &[6])?; // hidden state 6, the output of layer 6
//! assert_eq!(states[0].dims()[1..], [74, 768]); // (batch, frames, width)
//! # Ok::<(), mert_runtime::Error>(())
//! ```
//!
//! Modules bear the names of the checkpoint's own modules: `feature_extractor`, `feature_projection`,
//! `encoder`. Activations are channels-last, `(batch, frames, channels)`, between all of them. `ops`
//! is the seam behind which faster kernels go.

mod attention;
mod device;
mod encoder;
mod error;
mod feature_extractor;
mod feature_projection;
mod feed_forward;
mod model;
mod ops;
mod positional_conv;
mod weights;

pub use device::{ComputeDtype, DeviceKind};
pub use error::Error;
pub use model::Model;
pub use weights::ConvertedFile;
