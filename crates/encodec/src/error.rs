//! The reasons why a codec is not opened, a sound not encoded or codes not decoded.

use std::path::PathBuf;

use mert_arch::ConfigError;
use mert_checkpoint::CheckpointError;
use thiserror::Error;

/// The reason why a codec is not opened, a sound not encoded or codes not decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodecError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model has no configuration file.
    #[error("{path} has no config.json, which gives the codec's sizes: give the folder of the codec with both files")]
    NoConfig {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The configuration is not that of a codec that is computed here.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        source: ConfigError,
    },
    /// A tensor is missing.
    #[error("tensor `{name}` is not in the codec's checkpoint{hint}: config.json describes another model")]
    MissingTensor {
        /// The name.
        name: String,
        /// The nearest name, as a clause.
        hint: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?} from the codec's config.json")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the checkpoint.
        found: Vec<usize>,
        /// The shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor has a value that is not a finite number in f32.
    #[error("tensor `{name}` has the value {value} at {index}, expected finite numbers: the checkpoint is damaged")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The index of the value, row by row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The checkpoint has tensors that are not computed here.
    #[error("the codec's checkpoint has {count} tensors that config.json does not describe, such as `{first}`")]
    UnknownTensors {
        /// Their number.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A sound has no samples, or codes have no frames.
    #[error("the {what} is empty, expected at least one {unit}")]
    Empty {
        /// `sound` or `list of codes`.
        what: &'static str,
        /// `sample` or `frame`.
        unit: &'static str,
    },
    /// A sample is not a finite number.
    #[error("sample {index} is {value}, expected a finite number")]
    Sample {
        /// The index of the sample.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// Codes are of another number of codebooks than the codec has.
    #[error("the codes are of {found} codebooks, expected 1 to {expected}")]
    Codebooks {
        /// The number of lists of codes.
        found: usize,
        /// The codebooks of the codec.
        expected: usize,
    },
    /// The codes of the codebooks are of different lengths.
    #[error("codebook {codebook} has codes for {found} frames, expected {expected} as in codebook 0")]
    Frames {
        /// The index of the codebook.
        codebook: usize,
        /// Its frames.
        found: usize,
        /// The frames of the first codebook.
        expected: usize,
    },
    /// A code is outside its codebook.
    #[error("the code of codebook {codebook} in frame {frame} is {code}, expected less than {size}")]
    Code {
        /// The index of the codebook.
        codebook: usize,
        /// The index of the frame.
        frame: usize,
        /// The code.
        code: u32,
        /// The number of vectors in a codebook.
        size: usize,
    },
    /// An operation of candle failed, for want of memory or by a defect.
    #[error("the codec's forward pass failed: {0}")]
    Compute(#[from] candle_core::Error),
}
