//! Test material: generated checkpoints of any size, a writer of PyTorch's zip container, editors of converted files and
//! packages that make mutants, random damage, and a runner of the commands.
//!
//! The libraries do not depend on it.

pub mod core_ml_package;
mod damage;
mod editor;
mod family_fixture;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod protobuf;
mod quantized_model;
mod raw_file;
#[cfg(feature = "runner")]
pub mod runner;
mod sharp;
mod torch_zip;

use std::path::PathBuf;

pub use core_ml_package::CoreMlPackage;
pub use damage::Damage;
pub use editor::ConvertedModel;
pub use family_fixture::FamilyFixture;
pub use quantized_model::{QuantizedModel, StoredBytes};
pub use raw_file::{RawFile, RawTensor};
pub use sharp::sharp_checkpoint;
pub use torch_zip::{write_torch_zip, write_torch_zip_f64, write_torch_zip_to};

/// A tensor of f32 values in PyTorch's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f32>,
}

/// The path of a file in the repository's `fixtures/` folder.
pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}
