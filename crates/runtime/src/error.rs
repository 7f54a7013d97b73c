use std::path::PathBuf;

use mert_arch::{ConfigError, MetadataError};
use thiserror::Error;

use crate::DeviceKind;

/// Why a model could not be loaded or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file is not safetensors, or damaged.
    #[error("{path} is not a readable safetensors file: {reason}; a checkpoint is converted with mert-convert first")]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was not written by the converter.
    #[error("{path}: {source}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        source: MetadataError,
    },
    /// The file's tensors are not those that its configuration implies.
    #[error("{path} does not hold the model that its metadata describes: {reason}; convert the checkpoint again")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Which tensor differs, and how.
        reason: String,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The input is shorter than one frame.
    #[error("the input has {samples} samples, but one frame needs {needed}: give a longer clip")]
    TooShort {
        /// Samples given.
        samples: usize,
        /// The model's receptive field in samples.
        needed: usize,
    },
    /// The input holds a NaN or an infinity.
    #[error("the input holds {value} at sample {index}: repair or drop the clip")]
    NotFinite {
        /// Index of the sample (in the flattened batch).
        index: usize,
        /// The value.
        value: f32,
    },
    /// The input has another rank than `(samples,)` or `(batch, samples)`, or no elements.
    #[error("the input has shape {shape:?}, expected (samples,) or (batch, samples), none of them 0")]
    InputShape {
        /// The shape given.
        shape: Vec<usize>,
    },
    /// A hidden state that the model does not have, or none at all.
    #[error("hidden states {asked:?} were asked for, but the model has hidden states 0 to {last}: name at least one")]
    HiddenState {
        /// The hidden states asked for.
        asked: Vec<usize>,
        /// The last one there is.
        last: usize,
    },
    /// The device is not in this build or not in this machine.
    #[error("device {device} cannot be used: {reason}")]
    Device {
        /// The device's name.
        device: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// candle failed.
    #[error("candle: {0}")]
    Candle(#[source] candle_core::Error),
}

impl Error {
    pub(crate) fn device(kind: DeviceKind, reason: String) -> Self {
        Error::Device { device: kind.name(), reason }
    }
}

impl From<candle_core::Error> for Error {
    /// Drops the backtraces that candle puts into its messages when `RUST_BACKTRACE` is set.
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::WithBacktrace { inner, .. } => (*inner).into(),
            other => Error::Candle(other),
        }
    }
}
