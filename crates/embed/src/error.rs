//! Errors of embedding: those that end a run, and those of single files.

use std::path::PathBuf;

use mert_audio::AudioError;
use thiserror::Error;

/// Why nothing, or not all, was embedded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The model could not be loaded or run.
    #[error("{0}")]
    Model(#[from] mert_runtime::Error),
    /// A hidden state that the model does not have.
    #[error("{0}")]
    Layers(#[from] mert_arch::SelectionError),
    /// Audio that cannot be taken.
    #[error("{0}")]
    Audio(#[from] AudioError),
    /// An input that is not there, or none at all.
    #[error("{path}: {reason}")]
    Input {
        /// The file, folder or list.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The configuration file cannot be used.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        reason: String,
    },
    /// The output's name says nothing of its format.
    #[error("{path}: its name must end in .npy, .npz, .safetensors, .parquet or .jsonl")]
    OutputFormat {
        /// The output.
        path: PathBuf,
    },
    /// An output that cannot be updated.
    #[error("cannot update {path}: {reason}. Make it again with --force, or give another output")]
    Update {
        /// The output.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file of an output that is updated no longer exists.
    #[error("not found; its rows in the output stay as they were")]
    Missing,
    /// A network address in a list of files.
    #[error("network addresses are not read: download the file and give its path")]
    Address,
    /// The output is there already.
    #[error("{path} exists; replace it with --force, or add what is new with --update")]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// A file in place of the failure report that is not such a report.
    #[error("{path} exists and is not a report of mert-embed; replace it with --force, or give --report another name")]
    ReportExists {
        /// The path of the report.
        path: PathBuf,
    },
    /// The output or its journal could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// What an interrupted run left belongs to other settings.
    #[error(
        "{path} holds an interrupted run with other settings ({what}): go on with those, or start anew with --restart"
    )]
    OtherRun {
        /// The journal.
        path: PathBuf,
        /// Which setting, and both values.
        what: String,
    },
    /// A file where the journal would be is none of this version's.
    #[error("{path} is no journal that can be continued: remove it, or drop it with --restart")]
    NoJournal {
        /// The file.
        path: PathBuf,
    },
    /// Another program is writing the same output.
    #[error("{path} is in use: another mert-embed writes the same output")]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// An embedding with NaN or infinity.
    #[error(
        "the model returned {value} in hidden state {layer}: half precision overflows on some inputs; compute in f32"
    )]
    NotFinite {
        /// The hidden state.
        layer: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// No file gave an embedding.
    #[error("no file could be embedded: nothing is written")]
    NothingEmbedded,
}

impl EmbedError {
    /// For `map_err`: an operating system's error while writing `path`.
    pub(crate) fn write(path: &std::path::Path) -> impl Fn(std::io::Error) -> EmbedError + '_ {
        |source| EmbedError::Write { path: path.to_path_buf(), source }
    }
}
