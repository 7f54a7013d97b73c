//! The interface of all checkpoint readers: a listing of tensors, and the bytes of one tensor at a time.

use std::collections::BTreeMap;
use std::fmt;

use mert_arch::fairseq::CfgValue;
use mert_arch::naming::NamingScheme;
use mert_fs::MappedFile;
use serde::Serialize;

use crate::dtype::SourceDtype;
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// The element type and shape of a tensor, as a checkpoint lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The element type.
    pub dtype: SourceDtype,
    /// The extents, outermost first.
    pub shape: Vec<usize>,
}

/// The contents of a checkpoint, listed without reading any weight.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The tensors of the model's dictionary, by key.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// The Python types of the entries of the model's dictionary that are not tensors, by key.
    pub non_tensors: BTreeMap<String, String>,
    /// The objects outside the model's dictionary, such as optimizer state.
    pub other_objects: Vec<OtherObject>,
    /// The paths of tensors outside the model's dictionary.
    pub other_tensors: Vec<String>,
    /// The strings in the root of a pickle, such as audiocraft's `xp.cfg`, by key.
    pub texts: BTreeMap<String, String>,
    /// The keys in the file of entries from which wrapper names (`_orig_mod.`) were removed, by their keys without
    /// them.
    pub wrapped: BTreeMap<String, String>,
    /// The prefixes of models whose names are another implementation's in the file; `tensors` has them under their
    /// Hugging Face names.
    pub naming: BTreeMap<String, NamingScheme>,
    /// The tensors that have other names in the file, by their Hugging Face names.
    pub renamed: BTreeMap<String, TensorOrigin>,
    /// The tensors of adapters: those between the weights, by key, and those of an adapter's file, by `FILE:KEY`.
    pub adapter_tensors: BTreeMap<String, TensorInfo>,
    /// The path of the model's dictionary within the file; empty if it is the file's root.
    pub state_dict: String,
    /// The training configuration beside the model: fairseq's `cfg` or `args`, or the original WavLM's `cfg`.
    pub training_config: Option<CfgValue>,
}

impl Listing {
    /// The element type and shape of a tensor of the model or of an adapter.
    pub fn tensor(&self, key: &str) -> Option<&TensorInfo> {
        self.tensors.get(key).or_else(|| self.adapter_tensors.get(key))
    }

    /// The name of an entry in the file; for a tensor that is a part of another or filled in, a description.
    pub fn name_in_file(&self, name: &str) -> String {
        match (self.renamed.get(name), self.wrapped.get(name)) {
            (Some(origin), _) => origin.to_string(),
            (None, Some(wrapped)) => wrapped.clone(),
            (None, None) => name.to_string(),
        }
    }
}

/// The origin of a tensor that has another name in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorOrigin {
    /// A tensor of the file, by its key.
    Tensor(String),
    /// A third of a tensor of the file along the first axis.
    Third {
        /// The key of the whole tensor.
        key: String,
        /// The number of the third, from 0.
        third: usize,
    },
    /// The identity matrix: the file has no such tensor, as the model has no such layer.
    Identity,
    /// Zeros: the file has no such tensor, as the model has no such layer.
    Zeros,
}

impl TensorOrigin {
    /// The key in the file of the tensor that is read; `None` if it is filled in.
    pub fn key(&self) -> Option<&str> {
        match self {
            TensorOrigin::Tensor(key) | TensorOrigin::Third { key, .. } => Some(key),
            TensorOrigin::Identity | TensorOrigin::Zeros => None,
        }
    }
}

impl fmt::Display for TensorOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorOrigin::Tensor(key) => f.write_str(key),
            TensorOrigin::Third { key, third } => write!(f, "{key} (part {} of 3)", third + 1),
            TensorOrigin::Identity => f.write_str("(the identity matrix)"),
            TensorOrigin::Zeros => f.write_str("(zeros)"),
        }
    }
}

/// An object outside the model's dictionary, which is not converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherObject {
    /// The path in the file, with dots between the keys.
    pub name: String,
    /// The Python type.
    pub kind: String,
    /// The number of tensors in it.
    pub tensors: usize,
}

/// A checkpoint whose tensors are read one at a time.
pub trait Checkpoint: Send + Sync {
    /// The contents of the checkpoint.
    fn listing(&self) -> &Listing;

    /// The files that hold the weights, in a fixed order.
    fn files(&self) -> Vec<&MappedFile>;

    /// The files of an adapter that is to be merged, in a fixed order; none for one in the checkpoint itself.
    fn adapter_files(&self) -> Vec<&MappedFile> {
        Vec::new()
    }

    /// True for two tensors that are the same bytes of a file in the same shape, so that they cannot differ.
    fn is_same(&self, _first: &str, _second: &str) -> bool {
        false
    }

    /// Whether the tensor lies in the file as [`Checkpoint::read`] returns it, so that reading it allocates no memory.
    fn is_in_place(&self, name: &str) -> bool;

    /// The little-endian, row-major, contiguous bytes of one tensor of [`Listing::tensors`]. Where the container has a
    /// checksum of them, it has been verified.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchTensor`]; [`CheckpointError::DamagedTensor`] if the file contradicts its own index or
    /// checksums; [`CheckpointError::ReadTensor`] for too little memory.
    fn read(&self, name: &str) -> Result<TensorBytes<'_>>;
}

/// Reads one tensor and widens it to f32; f64 values are rounded.
///
/// # Errors
/// The errors of [`Checkpoint::read`]; [`CheckpointError::UnsupportedDtype`] for a dtype that is not a float,
/// [`CheckpointError::TensorLength`] if the bytes do not fill the shape.
pub fn read_f32(checkpoint: &dyn Checkpoint, name: &str) -> Result<Vec<f32>> {
    let TensorInfo { dtype, shape } =
        checkpoint.listing().tensor(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
    let size = dtype.size().ok_or_else(|| CheckpointError::unsupported_dtype(name, dtype))?;
    let bytes = checkpoint.read(name)?;
    CheckpointError::check_length(name, shape, size, &bytes)?;
    let mut values = Vec::new();
    dtype.widen(&bytes, &mut values);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of one tensor whose bytes need not fit its shape.
    struct OneTensor(Listing, Vec<u8>);

    impl Checkpoint for OneTensor {
        fn listing(&self) -> &Listing {
            &self.0
        }

        fn files(&self) -> Vec<&MappedFile> {
            Vec::new()
        }

        fn is_in_place(&self, _: &str) -> bool {
            false
        }

        fn read(&self, _: &str) -> Result<TensorBytes<'_>> {
            Ok(TensorBytes::Gathered(self.1.clone()))
        }
    }

    fn read(name: &str, dtype: SourceDtype, bytes: usize) -> Result<Vec<f32>> {
        let tensors = BTreeMap::from([("t".to_string(), TensorInfo { dtype, shape: vec![2, 3] })]);
        read_f32(&OneTensor(Listing { tensors, ..Listing::default() }, vec![0; bytes]), name)
    }

    #[test]
    fn errors_have_the_tensor_and_what_was_expected() {
        assert_eq!(read("t", SourceDtype::F16, 12).unwrap(), [0.0; 6]);
        let error = read("t", SourceDtype::F16, 11).unwrap_err();
        assert!(matches!(error, CheckpointError::TensorLength { expected: 12, found: 11, .. }), "{error}");
        assert!(error.to_string().contains("`t` has 11 bytes, expected 12"), "{error}");
        assert!(matches!(read("u", SourceDtype::F16, 12), Err(CheckpointError::NoSuchTensor { .. })));
        let other = SourceDtype::Other("i64".into());
        assert!(matches!(read("t", other, 48), Err(CheckpointError::UnsupportedDtype { .. })));
    }
}
