//! Errors of opening and reading checkpoints: what was found, what was expected, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use mert_arch::printable_line;
use thiserror::Error;

use crate::adapter::AdapterError;
use crate::dtype::SourceDtype;

/// The reason why a checkpoint was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The input is not a checkpoint in a supported format, or a damaged one.
    #[error("{path} is not a checkpoint that can be read: {reason}")]
    NotACheckpoint {
        /// The file or folder.
        path: PathBuf,
        /// The defect, and what was expected.
        reason: String,
    },
    /// A text that should be a SHA-256 is not one.
    #[error("invalid SHA-256 `{found}`: expected 64 hexadecimal digits, as sha256sum prints them")]
    NotASha256 {
        /// The text.
        found: String,
    },
    /// The input is the output of a conversion.
    #[error(
        "{path} is already converted ({evidence}): its weights are rounded or quantized, and in MLX's layout transposed. To \
         convert it again, or to merge an adapter into it, would lose precision. Give the original PyTorch checkpoint"
    )]
    AlreadyConverted {
        /// The file.
        path: PathBuf,
        /// The part of its metadata that shows it.
        evidence: String,
    },
    /// More than one dictionary of the checkpoint, or more than one key prefix, holds a model.
    #[error("the checkpoint holds more than one model: {}. Choose one with {option}", list_keys(.candidates))]
    Ambiguous {
        /// The dictionaries' paths or the prefixes, as `option` takes them; an empty one is the root.
        candidates: Vec<String>,
        /// The command-line option that chooses.
        option: &'static str,
    },
    /// The checkpoint lacks the tensor that every model of the family has.
    #[error("{path} holds no encoder of the HuBERT family: none of its {count} tensors is named `…{expected}`{hint}")]
    NoEncoder {
        /// The checkpoint.
        path: PathBuf,
        /// The number of its tensors.
        count: usize,
        /// The tensor name that was searched for.
        expected: &'static str,
        /// The nearest name, or the implementation whose names the tensors have.
        hint: String,
    },
    /// A configuration file is not text.
    #[error("{path}: {reason}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The defect of its bytes.
        reason: String,
    },
    /// Two entries of the checkpoint have the same name after wrapper names are removed.
    #[error(
        "{path}: `{first}` and `{second}` are both `{name}` without wrapper names (torch.compile, FSDP, \
         DistributedDataParallel); save the state_dict() of the module inside the wrapper"
    )]
    SameName {
        /// The input.
        path: PathBuf,
        /// The name without wrapper names.
        name: String,
        /// The first entry's name in the file.
        first: String,
        /// The second entry's name in the file.
        second: String,
    },
    /// Two entries of the checkpoint have the same Hugging Face name.
    #[error(
        "{path}: `{first}` and `{second}` are both `{name}` in Hugging Face names; save the state_dict() of one model alone"
    )]
    SameHuggingFaceName {
        /// The input.
        path: PathBuf,
        /// The Hugging Face name.
        name: String,
        /// The first entry's name in the file.
        first: String,
        /// The second entry's name in the file.
        second: String,
    },
    /// The checkpoint holds modified weights, or keeps them elsewhere.
    #[error("{path}: {reason}")]
    NotPlainWeights {
        /// The input.
        path: PathBuf,
        /// The modification and what to do.
        reason: String,
    },
    /// An adapter cannot be merged.
    #[error("{path}: {source}")]
    Adapter {
        /// The adapter, its configuration, or the checkpoint that holds it.
        path: PathBuf,
        /// The reason.
        source: AdapterError,
    },
    /// An adapter should be merged onto quantized weights.
    #[error(
        "{path} holds quantized weights ({evidence}), onto which an adapter is not merged: what rounding leaves of the weights \
         would have to be rounded again, which loses most of a small change. Merge it into the float model (give that and \
         --adapter), and quantize the result"
    )]
    QuantizedBase {
        /// The input.
        path: PathBuf,
        /// The tensor or the metadata that shows it.
        evidence: String,
    },
    /// A checkpoint holds an adapter, or layers of one, that nothing merges.
    #[error(
        "{path} holds {found} (`{}`), without which its weights are another model; {advice}",
        printable_line(.name)
    )]
    UnmergedAdapter {
        /// The input.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
        /// A tensor that shows it.
        name: String,
        /// What to do.
        advice: &'static str,
    },
    /// `--key` was given for a file that has no dictionaries.
    #[error("{path} is a safetensors file or sharded, and has no dictionaries to choose from; leave --key out")]
    KeyWithoutDictionaries {
        /// The input.
        path: PathBuf,
    },
    /// A tensor is not in the checkpoint.
    #[error("tensor `{name}` is not in the checkpoint")]
    NoSuchTensor {
        /// The name.
        name: String,
    },
    /// A tensor that should be read is not of a supported float type.
    #[error("tensor `{name}` has dtype {found}, expected f32, f16, bf16 or f64")]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// The tensor's dtype.
        found: String,
    },
    /// A tensor's bytes do not fill its shape.
    #[error("tensor `{name}` has {found} bytes, expected {expected} for its shape; {DAMAGED}")]
    TensorLength {
        /// The tensor.
        name: String,
        /// The number of bytes that its shape and dtype take.
        expected: usize,
        /// The number of bytes that were read.
        found: usize,
    },
    /// A tensor's bytes contradict the file's index or checksums.
    #[error("tensor `{name}`: {reason}; {DAMAGED}")]
    DamagedTensor {
        /// The tensor.
        name: String,
        /// The defect.
        reason: String,
    },
    /// A tensor could not be read for a reason outside the file.
    #[error("cannot read tensor `{name}`: {source}")]
    ReadTensor {
        /// The tensor.
        name: String,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// The advice for damaged tensors.
const DAMAGED: &str = "the file is damaged or was not saved completely: download or save it again";

impl AdapterError {
    /// The error for the adapter, the configuration or the checkpoint at `path`.
    pub(crate) fn of(self, path: &Path) -> CheckpointError {
        CheckpointError::Adapter { path: path.to_path_buf(), source: self }
    }
}

impl CheckpointError {
    pub(crate) fn open(path: &Path, source: io::Error) -> Self {
        CheckpointError::Open { path: path.to_path_buf(), source }
    }

    pub(crate) fn not_a_checkpoint(path: &Path, reason: impl Into<String>) -> Self {
        CheckpointError::NotACheckpoint { path: path.to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn not_text(path: &Path, reason: String) -> Self {
        CheckpointError::NotText { path: path.to_path_buf(), reason }
    }

    /// The error for a name that the listing does not have.
    pub fn no_such_tensor(name: &str) -> Self {
        CheckpointError::NoSuchTensor { name: name.to_string() }
    }

    /// The error for a tensor whose elements have no size in [`SourceDtype::size`].
    pub fn unsupported_dtype(name: &str, dtype: &SourceDtype) -> Self {
        CheckpointError::UnsupportedDtype { name: name.to_string(), found: dtype.name().to_string() }
    }

    pub(crate) fn damaged_tensor(name: &str, reason: impl Into<String>) -> Self {
        CheckpointError::DamagedTensor { name: name.to_string(), reason: reason.into() }
    }

    /// Checks that `bytes` fill a tensor's shape, with `size` bytes for each element.
    ///
    /// # Errors
    /// [`CheckpointError::TensorLength`].
    pub fn check_length(name: &str, shape: &[usize], size: usize, bytes: &[u8]) -> Result<(), Self> {
        let (expected, found) = (shape.iter().fold(size, |bytes, &extent| bytes.saturating_mul(extent)), bytes.len());
        if found == expected {
            return Ok(());
        }
        Err(CheckpointError::TensorLength { name: name.to_string(), expected, found })
    }
}

/// The path of a dictionary, as messages show it.
pub(crate) fn display_key(path: &str) -> String {
    if path.is_empty() { "(none: it is the file's root)".into() } else { format!("`{}`", printable_line(path)) }
}

fn list_keys(candidates: &[String]) -> String {
    candidates.iter().map(|candidate| display_key(candidate)).collect::<Vec<_>>().join(", ")
}
