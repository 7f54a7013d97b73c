//! The error type of the crate: one variant for each thing that can keep a model from being checked.

use std::io;
use std::path::PathBuf;

use mert_arch::{ConfigError, SelectionError};
use mert_fs::FsError;
use thiserror::Error;

/// The reason why something could not be checked. A model that was checked and is wrong is not an error but a
/// [`ModelVerdict`](crate::gate::ModelVerdict) that did not pass.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Output(#[from] FsError),
    /// An array file lacks an array, or has it in a shape or type that cannot be used.
    #[error("{path}: {reason}")]
    Array {
        /// The .npy or .npz file.
        path: PathBuf,
        /// The array, what was expected and what was found.
        reason: String,
    },
    /// An audio file cannot be used.
    #[error("{path}: {source}")]
    Audio {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        source: mert_audio::AudioError,
    },
    /// There is nothing to compare, or nothing to compare with.
    #[error("{0}")]
    NothingToCompare(String),
    /// The gate's configuration file cannot be used.
    #[error("{path}: {reason}")]
    GateFile {
        /// The YAML file.
        path: PathBuf,
        /// The fault, with the line where known.
        reason: String,
    },
    /// A tolerance cannot be used.
    #[error("tolerance: {0}")]
    Tolerance(String),
    /// The model could not be loaded or run.
    #[error(transparent)]
    Runtime(#[from] mert_runtime::Error),
    /// A MusicGen bundle could not be opened or run.
    #[error(transparent)]
    Musicgen(Box<mert_musicgen::MusicgenError>),
    /// A hidden state does not have the shape `(batch, frames, width)`.
    #[error("hidden state of shape {shape:?}: {source}")]
    HiddenStateShape {
        /// The shape found.
        shape: Vec<usize>,
        /// The reason of the array library.
        source: ndarray::ShapeError,
    },
    /// A Core ML package is damaged, unsupported, or contradicts itself.
    #[error("{path}: {reason}")]
    Package {
        /// The package.
        path: PathBuf,
        /// The file, field or operation, what was expected and what was found.
        reason: String,
    },
    /// A GGUF file is damaged, was not written by mert-convert, or contradicts itself.
    #[error("{path}: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The field or tensor, what was expected and what was found.
        reason: String,
    },
    /// A weight cannot be decoded.
    #[error("{path}: tensor `{name}`: {reason}; convert the original again")]
    Weight {
        /// The model.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The part, what was expected and what was found.
        reason: String,
    },
    /// An option does not apply to this model, or is not available on this machine.
    #[error("{path}: {reason}")]
    Options {
        /// The model.
        path: PathBuf,
        /// The option and what to do instead.
        reason: String,
    },
    /// A selected hidden state does not exist.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The original checkpoint cannot be used as a reference.
    #[error("{path}: {reason}")]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The fault and what to do.
        reason: String,
    },
    /// The checkpoint's configuration cannot be used.
    #[error("{path}: {source}")]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// The fault.
        source: ConfigError,
    },
    /// This build has no libtorch.
    #[error(
        "{0} needs libtorch, which this build lacks: build with --features tch (see scripts/install_libtorch.sh), or \
         give a --reference .npz made elsewhere"
    )]
    NoLibtorch(&'static str),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Libtorch(String),
}

impl VerifyError {
    pub(crate) fn read(path: impl Into<PathBuf>, source: io::Error) -> Self {
        VerifyError::Read { path: path.into(), source }
    }

    pub(crate) fn array(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        VerifyError::Array { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn gate_file(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        VerifyError::GateFile { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn package(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        VerifyError::Package { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn gguf(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        VerifyError::Gguf { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn options(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        VerifyError::Options { path: path.into(), reason: reason.into() }
    }

    #[cfg(any(feature = "tch", test))]
    pub(crate) fn checkpoint(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        VerifyError::Checkpoint { path: path.into(), reason: reason.into() }
    }
}

impl From<candle_core::Error> for VerifyError {
    fn from(error: candle_core::Error) -> Self {
        VerifyError::Runtime(error.into())
    }
}

#[cfg(feature = "tch")]
impl From<tch::TchError> for VerifyError {
    fn from(error: tch::TchError) -> Self {
        VerifyError::Libtorch(error.to_string())
    }
}

impl From<mert_musicgen::MusicgenError> for VerifyError {
    fn from(error: mert_musicgen::MusicgenError) -> Self {
        // Boxed: it is larger than all other variants.
        VerifyError::Musicgen(Box::new(error))
    }
}
