use std::io;
use std::path::PathBuf;

use mert_arch::{ConfigError, SelectionError};
use thiserror::Error;

/// Why something could not be checked. A model that was checked and is wrong is no error but a
/// [`Report`](crate::Report) that did not pass.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An array file has not what is needed.
    #[error("{path}: {reason}")]
    Array {
        /// The .npy or .npz file.
        path: PathBuf,
        /// Which array, what was expected, what was found.
        reason: String,
    },
    /// A music file cannot be used.
    #[error("{path}: {source}")]
    Audio {
        /// The file.
        path: PathBuf,
        /// Why.
        source: mert_audio::AudioError,
    },
    /// There is nothing to compare with.
    #[error("{0}")]
    NothingToCompare(String),
    /// The gate's configuration cannot be used.
    #[error("{path}: {reason}")]
    Suite {
        /// The YAML file.
        path: PathBuf,
        /// What is wrong, with the line where known.
        reason: String,
    },
    /// A tolerance cannot be used.
    #[error("tolerance: {0}")]
    Tolerance(String),
    /// The model could not be loaded or run.
    #[error(transparent)]
    Runtime(#[from] mert_runtime::Error),
    /// A Core ML package is broken, or not of this model.
    #[error("{path}: {reason}")]
    Package {
        /// The package.
        path: PathBuf,
        /// Which file, field or operation, what was expected, what was found.
        reason: String,
    },
    /// Options that do not go with the model, or not with this machine.
    #[error("{0}")]
    Options(String),
    /// So many threads cannot be had.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The operating system's reason.
        reason: String,
    },
    /// The layers asked for do not exist.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The original checkpoint cannot be used as a reference.
    #[error("{path}: {reason}")]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint's configuration cannot be used.
    #[error("{path}: {source}")]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// What is wrong with it.
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

impl From<candle_core::Error> for VerifyError {
    fn from(error: candle_core::Error) -> Self {
        VerifyError::Runtime(error.into())
    }
}
