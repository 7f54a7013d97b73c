//! Errors of vocabularies and of files with tokens: what was found, what was expected, and what to do.

use std::io;
use std::path::PathBuf;

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
    /// Frames of an interrupted training that this one cannot continue.
    #[error(
        "{} holds frames of an interrupted training with another {difference}: give --restart to discard them, or the options of that training",
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
}
