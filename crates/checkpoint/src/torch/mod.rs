//! The reader of `torch.save` files (PyTorch's `torch/serialization.py`), in a zip or in the legacy container.
//!
//! A pickle in the container describes objects, of which the model's dictionary is one; its tensors are views of storages,
//! whose bytes lie elsewhere in the container.
//! - `file.rs`: the reader; `tensors.rs`: the tensors of the dictionary and their locations.
//! - `zip_container.rs`, `legacy_container.rs`: the two containers; `archive.rs`: zip archives as PyTorch writes them.
//! - `storages.rs`, `strided.rs`: the bytes of storages, and of views that are not contiguous.
//! - `tree.rs`, `state_dict.rs`: the dictionaries in a pickle, and the model's among them.
//! - `training_config.rs`: the training configuration beside the model, as plain values.
//! - `refusals.rs`, `objects.rs`: what a file or an entry is that is not a model or not a tensor, with advice.

mod archive;
mod file;
mod legacy_container;
mod objects;
mod refusals;
mod state_dict;
mod storages;
mod strided;
mod tensors;
mod training_config;
mod tree;
mod zip_container;

pub(crate) use archive::open_archive;
pub(crate) use file::TorchFile;
pub use objects::{NEGATED_VIEW, object_advice};
