//! Candidates: converted models that can be run on a reference's clip. `safetensors.rs` and `gguf/` run a converted file by
//! the runtime, and `stored_weights.rs` decodes its weights without it; `coreml/` runs a Core ML package by an interpreter or
//! by Core ML.

mod compressed;
mod coreml;
mod encoder_norm;
pub(crate) mod folder_files;
mod gguf;
mod interface;
mod options;
mod runtime_model;
mod safetensors;
mod stored_weights;

use std::path::{Path, PathBuf};

pub use self::compressed::CompressedWeights;
use self::coreml::Package;
pub use self::encoder_norm::EncoderNorm;
use self::gguf::GgufModel;
pub use self::interface::{Candidate, HiddenStates, Output, RunIsolated, StoredWeight, to_array};
pub use self::options::{ComputeOptions, ComputeUnits, Emulation, PackageEngine, PackageOptions};
pub use self::runtime_model::hidden_states;
use self::safetensors::SafetensorsFile;
pub use self::safetensors::{converted_encoding, converted_file};
use crate::Result;

/// Opens a converted file (safetensors or GGUF), a folder with a `model.safetensors`, or a Core ML package.
///
/// # Errors
/// [`VerifyError`](crate::VerifyError) if it cannot be used, or not with these options.
pub fn open(path: &Path, compute: ComputeOptions, package: PackageOptions) -> Result<Box<dyn Candidate>> {
    if coreml::is_package(path) {
        return Ok(Box::new(Package::open(path, compute, package)?));
    }
    if gguf::is_gguf(path) {
        return Ok(Box::new(GgufModel::open(path, compute, package)?));
    }
    Ok(Box::new(SafetensorsFile::open(path, compute, package)?))
}

/// Lists the files that a model consists of, as far as they exist.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    if coreml::is_package(path) {
        return Package::files(path);
    }
    converted_file(path).into_iter().collect()
}
