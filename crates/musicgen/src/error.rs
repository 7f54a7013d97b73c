//! The reasons why a bundle is not opened or music not generated.

use std::path::{Path, PathBuf};

use mert_encodec::EncodecError;
use mert_linear::LinearError;
use mert_t5::T5Error;
use thiserror::Error;

/// The reason why a bundle is not opened or music not generated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MusicgenError {
    /// A file cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is not as expected.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// The field or tensor, what was expected and what was found.
        reason: String,
    },
    /// A tensor is missing.
    #[error("{path}: tensor `{name}` is missing{hint}: convert the model again with mert-convert")]
    MissingTensor {
        /// The file or index.
        path: PathBuf,
        /// The name.
        name: String,
        /// The nearest name, as a clause.
        hint: String,
    },
    /// The weights have tensors that the configuration does not describe.
    #[error("{path}: config.json describes no tensor `{first}` ({count} such tensors): it is of another model")]
    UnknownTensors {
        /// The file or index.
        path: PathBuf,
        /// The first of them by name.
        first: String,
        /// Their number.
        count: usize,
    },
    /// A tensor has another shape or element type than the configuration says.
    #[error("{path}: tensor `{name}` is {found}, expected {expected} by config.json")]
    Tensor {
        /// The file or index.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape and type found.
        found: String,
        /// The shape and type expected.
        expected: String,
    },
    /// A weight cannot be used in products.
    #[error("tensor `{name}`: {source}")]
    Linear {
        /// The tensor.
        name: String,
        /// The reason.
        source: LinearError,
    },
    /// A part of the bundle is missing.
    #[error(
        "{folder} has no {part}/ folder, which holds {contents}: convert the original model with {option}, and not for another \
         program (--for)"
    )]
    MissingPart {
        /// The bundle.
        folder: PathBuf,
        /// The name of the folder.
        part: &'static str,
        /// What it holds.
        contents: &'static str,
        /// The option of mert-convert that adds it.
        option: &'static str,
    },
    /// EnCodec cannot be opened or run.
    #[error(transparent)]
    Encodec(Box<EncodecError>),
    /// T5 cannot be opened or run.
    #[error(transparent)]
    T5(Box<T5Error>),
    /// A request cannot be fulfilled by this model.
    #[error("{0}")]
    Request(String),
    /// The model computed values that are not finite.
    #[error("the logits of step {step} are not finite: the weights overflow f32, or are damaged")]
    NotFinite {
        /// The step of the language model.
        step: usize,
    },
    /// Finished samples cannot be written.
    #[error("cannot write the output: {source}")]
    Output {
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The caller stopped the generation.
    #[error("stopped after {steps} steps of the language model")]
    Stopped {
        /// The number of completed steps.
        steps: usize,
    },
}

impl MusicgenError {
    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        MusicgenError::File { path: path.to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn open(path: &Path, source: std::io::Error) -> Self {
        MusicgenError::Open { path: path.to_path_buf(), source }
    }
}

// Boxed: both are larger than all other variants.
impl From<EncodecError> for MusicgenError {
    fn from(error: EncodecError) -> Self {
        MusicgenError::Encodec(Box::new(error))
    }
}

impl From<T5Error> for MusicgenError {
    fn from(error: T5Error) -> Self {
        MusicgenError::T5(Box::new(error))
    }
}
