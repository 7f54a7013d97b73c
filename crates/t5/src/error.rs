//! The reasons why a text encoder is not opened or a text not encoded.

use std::path::PathBuf;

use mert_arch::ConfigError;
use mert_checkpoint::CheckpointError;
use thiserror::Error;

/// The reason why a text encoder is not opened or a text not encoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum T5Error {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the folder is missing.
    #[error("{folder} has no {file}, which holds {contents}: {advice}")]
    NoFile {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: &'static str,
        /// What it holds.
        contents: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The configuration is not that of a T5 whose encoder is computed here.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        source: ConfigError,
    },
    /// The tokenizer cannot be used.
    #[error("{path}: {reason}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A tensor is missing.
    #[error("tensor `{name}` is not in T5's checkpoint{hint}: config.json describes another model")]
    MissingTensor {
        /// The name.
        name: String,
        /// The nearest name, as a clause.
        hint: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?} from T5's config.json")]
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
    #[error("T5's checkpoint has {count} tensors that config.json does not describe, such as `{first}`")]
    UnknownTensors {
        /// Their number.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A text has a token that the model does not have.
    #[error("token {token} at {index}, expected less than {size}: tokenizer.json is of another model")]
    Token {
        /// The position in the text.
        index: usize,
        /// The number of the token.
        token: u32,
        /// The rows of the embedding.
        size: usize,
    },
    /// A text has no tokens, or more than are computed.
    #[error("the text has {found} tokens, expected 1 to {most}: {}", if *found == 0 { "describe something" } else { "shorten it" })]
    Length {
        /// Its tokens.
        found: usize,
        /// The most that are computed.
        most: usize,
    },
    /// An operation of candle failed, for want of memory or by a defect.
    #[error("the forward pass of T5 failed: {0}")]
    Compute(#[from] candle_core::Error),
}
