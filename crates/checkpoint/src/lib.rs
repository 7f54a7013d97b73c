//! Readers of checkpoints: PyTorch's zip and legacy files, safetensors, shards, and what a key is called.
//!
//! [`Source::open`] finds the weights and the configuration files beside them; a [`Checkpoint`] lists the tensors and
//! reads one at a time, borrowed from the mapped file where it is contiguous. Pickles are parsed, never executed.

mod archive;
mod checkpoint;
mod error;
mod folder;
mod locate;
mod names;
mod nearest;
pub mod objects;
mod open;
mod pickle;
mod prefix;
mod safetensors;
mod sharded;
mod signature;
mod source;
mod state_dict;
mod storages;
mod strided;
mod tensor_bytes;
mod torch;
mod wrappers;

pub use checkpoint::{Beside, Checkpoint, Listing, SourceDtype, TensorInfo, read_f32};
pub use error::CheckpointError;
pub use names::changed;
pub use nearest::nearest;
pub use open::open_file;
pub use prefix::{Prefix, find_prefix};
pub use safetensors::{SafetensorsFile, read_header};
pub use sharded::ShardedCheckpoint;
pub(crate) use signature::python;
pub use source::{Source, read_given, read_text};
pub(crate) use state_dict::shown_key;
pub use tensor_bytes::TensorBytes;
pub use torch::TorchFile;
pub(crate) use wrappers::unwrap;

pub(crate) use mert_fs::MappedFile;

pub(crate) type Result<T, E = CheckpointError> = std::result::Result<T, E>;
