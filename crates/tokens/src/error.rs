//! Errors of vocabularies and of files with tokens: what was found, what was expected, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use mert_audio::AudioError;
use mert_fs::FsError;
use mert_table::printable_path;
use thiserror::Error;

/// The reason why a vocabulary or tokens cannot be read, written or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokensError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", printable_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] FsError),
    /// A file cannot be decoded.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The model cannot be run.
    #[error(transparent)]
    Model(#[from] mert_runtime::Error),
    /// A hidden state that the model does not have.
    #[error("--layer {layer}: the model has {states} hidden states: give 0 to {}, or -1 to -{states}", states - 1)]
    Layer {
        /// The hidden state.
        layer: i64,
        /// The number of hidden states.
        states: usize,
    },
    /// Windows, hops and kept frames that do not fit.
    #[error(
        "a window of {window} frames cannot keep a hop of {hop} frames that ends {lookahead} frames before its end: give a \
         longer --window or a shorter --hop"
    )]
    Framing {
        /// The frames of a window.
        window: usize,
        /// The frames of a hop.
        hop: usize,
        /// The frames after the kept ones.
        lookahead: usize,
    },
    /// A hidden state that is not finite.
    #[error("hidden state {layer} has the value {value}: the weights or the sound are damaged")]
    NotFinite {
        /// The hidden state.
        layer: usize,
        /// The value.
        value: f32,
    },
    /// Too few frames for a vocabulary.
    #[error("{frames} frames are too few for {k} centres: give more sound, or a smaller --k")]
    TooFewFrames {
        /// The frames.
        frames: usize,
        /// The centres.
        k: usize,
    },
    /// A file is not an array of frames.
    #[error("{}: {reason}", printable_path(path))]
    Features {
        /// The file.
        path: PathBuf,
        /// The value that was expected, and the one that was found.
        reason: String,
    },
    /// Frames of an interrupted training that this one cannot continue.
    #[error(
        "{} holds frames of an interrupted training with another {difference}: give --restart to discard them, or the \
         options of that training",
        printable_path(path)
    )]
    OtherTraining {
        /// The folder with the frames.
        path: PathBuf,
        /// The option in which they differ.
        difference: String,
    },
    /// Another process is training the same vocabulary.
    #[error("another process is training this vocabulary: {} is locked", printable_path(path))]
    Locked {
        /// The folder with the frames.
        path: PathBuf,
    },
    /// A file is not a vocabulary that can be read.
    #[error("{} is not a vocabulary that can be read: {reason}", printable_path(path))]
    NotAVocabulary {
        /// The file.
        path: PathBuf,
        /// The defect, what was expected, and what to do.
        reason: String,
    },
    /// A field of a vocabulary's metadata is missing or invalid.
    #[error(
        "{}: the vocabulary's `{field}` is {found}, expected {expected}; train it again with `mert-tokens train`",
        printable_path(path)
    )]
    Field {
        /// The vocabulary.
        path: PathBuf,
        /// The field of the metadata, or the tensor.
        field: String,
        /// The expected value.
        expected: String,
        /// The value that was found.
        found: String,
    },
    /// The vocabulary cannot be used with this model or these settings.
    #[error("the vocabulary is for another {what}: it was trained with {expected}, and this is {found}; {advice}")]
    Mismatch {
        /// The property in which they differ.
        what: &'static str,
        /// The value of the vocabulary.
        expected: String,
        /// The value that was asked for.
        found: String,
        /// The remedy.
        advice: &'static str,
    },
    /// The vocabulary does not say which model and window it is for.
    #[error(
        "the vocabulary does not record its model, hidden state, window and hop, as no file of other programs does; state the \
         values that it was trained with"
    )]
    NoRecord,
    /// The values of a vocabulary or a record do not fit together.
    #[error("{0}")]
    Invalid(String),
    /// A file with tokens or vectors is invalid.
    #[error("{}: {place}: {reason}", printable_path(path))]
    Tokens {
        /// The file.
        path: PathBuf,
        /// The line, item or field.
        place: String,
        /// The value that was expected, and the one that was found.
        reason: String,
    },
    /// The name of an output selects no format.
    #[error(
        "unknown format of {}: expected a name that ends in .jsonl, .km, .npy or .parquet, or the format gslm or textless \
         by its name",
        printable_path(path)
    )]
    Format {
        /// The output.
        path: PathBuf,
    },
    /// A file's name cannot be written in a format.
    #[error("`{name}` cannot be written as {format}: {reason}")]
    Name {
        /// The name, printable.
        name: String,
        /// The format.
        format: &'static str,
        /// The defect and what to do.
        reason: &'static str,
    },
    /// A YAML configuration is invalid.
    #[error("{}: {reason}", printable_path(path))]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        reason: String,
    },
}

impl TokensError {
    /// The operating system's reason why `path` cannot be read.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        TokensError::Read { path: path.to_path_buf(), source }
    }

    /// The operating system's reason why `path` cannot be written.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        TokensError::Write(FsError::write(path, source))
    }

    /// The reason why `path` is not a vocabulary.
    pub(crate) fn not_a_vocabulary(path: &Path, reason: impl Into<String>) -> Self {
        TokensError::NotAVocabulary { path: path.to_path_buf(), reason: reason.into() }
    }

    /// The defect at a place of a file with tokens.
    pub(crate) fn tokens(path: &Path, place: impl Into<String>, reason: impl Into<String>) -> Self {
        TokensError::Tokens { path: path.to_path_buf(), place: place.into(), reason: reason.into() }
    }
}
