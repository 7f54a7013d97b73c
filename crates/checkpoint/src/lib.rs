//! Readers of checkpoints: PyTorch's zip and legacy files, safetensors, shards, and what a key is called.
//!
//! [`Source::open`] finds the weights and the configuration files beside them; a [`Checkpoint`] lists the tensors and
//! reads one at a time, borrowed from the mapped file where it is contiguous. Pickles are parsed, never executed.
//!
//! ```
//! use mert_checkpoint::{Source, read_f32};
//!
//! let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/pytorch_model.bin");
//! let source = Source::open(path.as_ref())?;
//! let name = "encoder.layer_norm.bias";
//! assert_eq!(source.listing().tensors[name].shape, [64]);
//! assert_eq!(read_f32(source.checkpoint(), name)?.len(), 64);
//! # Ok::<(), mert_checkpoint::CheckpointError>(())
//! ```
//!
//! # Map
//! Each line needs only what is below it:
//! - `input/`: the file or folder that the user named, with the configuration files beside it.
//! - `sharded/`: checkpoints of several files, through their index.
//! - `open.rs`: one file, opened by its first bytes.
//! - `other_formats/`: files and folders that are not checkpoints, recognized, with advice.
//! - `torch/` and `safetensors.rs`: the two formats; `unwrapped.rs`: either of them without the names of wrappers;
//!   `renamed.rs`: either of them under Hugging Face names; `assembled.rs`: tensors of several checkpoints as one.
//! - `pickle/`: the parser of pickles, which executes nothing; `estimator/`: the estimators of scikit-learn in them.
//! - `adapter/`: low-rank adapters (LoRA), beside a checkpoint or in it.
//! - `names/`: the meaning of tensor names: prefixes, wrappers, other models, modified weights.
//! - `checkpoint.rs` (the trait), `dtype.rs`, `tensor_bytes.rs`, `error.rs`, and the helpers `commands.rs`, `paths.rs`, `text.rs`.

mod adapter;
mod assembled;
mod checkpoint;
mod commands;
mod dtype;
mod error;
pub mod estimator;
mod input;
mod names;
mod open;
mod other_formats;
mod paths;
mod pickle;
mod renamed;
mod safetensors;
mod sharded;
mod tensor_bytes;
mod text;
mod torch;
mod unwrapped;

pub use adapter::{
    Adapter, AdapterError, AdapterFile, AdapterOptions, AdapterOrigin, AdapterTensor, LoraLayer, open_adapter,
};
pub use assembled::Assembled;
pub use checkpoint::{Checkpoint, Listing, OtherObject, TensorInfo, TensorOrigin, read_f32};
pub use commands::{shell_option, shell_word};
pub use dtype::SourceDtype;
pub use error::CheckpointError;
pub use input::{PlainCheckpoint, Source, open_plain, open_weights};
pub use names::{
    Prefix, find_prefix, has_component, is_in_encoder, modification_in_encoder, modified_weights, nearest,
};
pub use safetensors::read_header;
pub use tensor_bytes::TensorBytes;
pub use text::read_named_text;
pub use torch::{NEGATED_VIEW, object_advice};

pub(crate) type Result<T, E = CheckpointError> = std::result::Result<T, E>;
