//! Low-rank adapters (LoRA, rsLoRA, DoRA): their tensors by the module that they change, and the scale of each.
//!
//! Each line needs only what is below it:
//! - `choose.rs`: the adapter of a conversion, and the refusal of one that would be lost.
//! - `open.rs`: a folder or file of PEFT or mlx-lm; `embedded.rs`: an adapter between the weights of a checkpoint;
//!   `attached.rs`: a view of a checkpoint with the tensors of an adapter's file.
//! - `scales.rs`: what states the scales: `peft.rs` and `mlx_lm.rs`, the two configurations; `pattern.rs`: PEFT's values by
//!   pattern.
//! - `modules.rs`: the tensors by module; `layer.rs`: the parts of one layer, checked against each other; `keys.rs`: the
//!   meaning of a key.
//! - `types.rs`: an adapter, and the user's choice of one; `error.rs`: the errors.
//!
//! Nothing is computed here: `mert-convert` merges the adapter.

mod attached;
mod choose;
mod embedded;
mod error;
mod keys;
mod layer;
mod mlx_lm;
mod modules;
mod open;
mod pattern;
mod peft;
mod scales;
mod types;

pub(crate) use choose::Found;
pub(crate) use embedded::without_adapters;
pub use error::AdapterError;
pub use layer::{AdapterTensor, LoraLayer};
pub use open::{AdapterFile, open_adapter};
pub use types::{Adapter, AdapterOptions, AdapterOrigin};
