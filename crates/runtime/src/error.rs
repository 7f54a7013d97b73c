//! The errors of loading and running a model.

use std::path::{Path, PathBuf};

use mert_arch::{ComputeType, ConfigError, MetadataError};
use thiserror::Error;

use crate::DeviceKind;

/// An error of loading or running a model.
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
    /// The file is not safetensors, or is damaged.
    #[error("{path} is not a readable safetensors file: {reason}; convert a checkpoint with mert-convert first")]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The file is a PyTorch checkpoint.
    #[error("{path} is a PyTorch checkpoint; convert it with mert-convert first")]
    TorchCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The file's length is not the one that its header implies.
    #[error("{path} is an incomplete safetensors file: {reason}; copy or convert it again")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The part that the file does not hold.
        reason: &'static str,
    },
    /// The file was not written by mert-convert.
    #[error("{path}: {source}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The missing or invalid entry.
        source: MetadataError,
    },
    /// A file beside the weights, or the index of their shards, cannot be used.
    #[error("{path} cannot be used: {reason}")]
    ModelFile {
        /// The file, or the folder that lacks one.
        path: PathBuf,
        /// The field or tensor, what was expected, and what was found.
        reason: String,
    },
    /// The file's tensors are not those that its configuration implies.
    #[error("{path} does not hold the model that its {described_in} describes: {reason}; convert the checkpoint again")]
    Tensors {
        /// The file, or the index of its shards.
        path: PathBuf,
        /// What describes the model: `metadata`, or `config.json` for weights that MLX saved.
        described_in: &'static str,
        /// The tensor that differs, and the difference.
        reason: String,
    },
    /// The numbers to compute with are not those of the device's engine.
    #[error(
        "{compute} arithmetic is for the CPU, and for models whose convolutions its own engine supports; use f32, f16 or bf16"
    )]
    ComputeType {
        /// The numbers that were asked for.
        compute: ComputeType,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The input is shorter than one frame.
    #[error("the input has {samples} samples, but one frame needs {needed}: give a longer clip")]
    TooShort {
        /// The number of samples of the input.
        samples: usize,
        /// The model's receptive field in samples.
        needed: usize,
    },
    /// The input holds a NaN or an infinity.
    #[error("the input holds {value} at sample {index}: repair or drop the clip")]
    NotFinite {
        /// The index of the sample in the flattened batch.
        index: usize,
        /// The value of the sample.
        value: f32,
    },
    /// The input has another rank than `(samples,)` or `(batch, samples)`, or no elements.
    #[error("the input has shape {shape:?}, expected (samples,) or (batch, samples), none of them 0")]
    InputShape {
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The request names a hidden state that the model does not have, or no hidden state.
    #[error("invalid hidden states {requested:?}: expected at least one of 0 to {last}")]
    HiddenState {
        /// The hidden states of the request.
        requested: Vec<usize>,
        /// The last hidden state of the model.
        last: usize,
    },
    /// The converted file does not keep `final_proj`.
    #[error("the model has no final_proj: convert its checkpoint again with `mert-convert --keep final_proj`")]
    NoFinalProj,
    /// The frames to project and the memory for the result do not fit each other.
    #[error("{values} values are not frames of {inputs}, or {projected} values are not as many frames of {outputs}")]
    FrameCount {
        /// The number of values to project.
        values: usize,
        /// The width of a frame.
        inputs: usize,
        /// The number of values of the result.
        projected: usize,
        /// The width of a projected frame.
        outputs: usize,
    },
    /// This build does not support the device, or the machine does not have it.
    #[error("device {device} cannot be used: {reason}")]
    Device {
        /// The device's name.
        device: &'static str,
        /// The reason, and what to do.
        reason: String,
    },
    /// An operation of candle failed.
    #[error("candle: {0}")]
    Candle(#[source] candle_core::Error),
}

impl Error {
    pub(crate) fn open(path: &Path, source: std::io::Error) -> Self {
        Error::Open { path: path.to_path_buf(), source }
    }

    pub(crate) fn not_safetensors(path: &Path, reason: impl ToString) -> Self {
        Error::NotSafetensors { path: path.to_path_buf(), reason: reason.to_string() }
    }

    pub(crate) fn incomplete(path: &Path, reason: &'static str) -> Self {
        Error::Incomplete { path: path.to_path_buf(), reason }
    }

    pub(crate) fn metadata(path: &Path, source: MetadataError) -> Self {
        Error::Metadata { path: path.to_path_buf(), source }
    }

    pub(crate) fn model_file(path: &Path, reason: String) -> Self {
        Error::ModelFile { path: path.to_path_buf(), reason }
    }

    pub(crate) fn tensors(path: &Path, described_in: &'static str, reason: String) -> Self {
        Error::Tensors { path: path.to_path_buf(), described_in, reason }
    }

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
