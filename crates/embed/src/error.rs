//! Errors of embedding: those that end a run, and those of single files.

use std::io;
use std::path::{Path, PathBuf};

use mert_audio::AudioError;
use mert_fs::FsError;
use mert_table::TableError;
use thiserror::Error;

/// The reason why a run ended, or why a file was left out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The model could not be loaded or run.
    #[error(transparent)]
    Model(#[from] mert_runtime::Error),
    /// A hidden state that the model does not have.
    #[error(transparent)]
    Layers(#[from] mert_arch::SelectionError),
    /// The audio cannot be decoded or embedded.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// An input does not exist or cannot be read, or there is no input.
    #[error("{path}: {reason}")]
    Input {
        /// The file, folder or list.
        path: PathBuf,
        /// The fault and what to do.
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
    /// The output could not be written as a table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An existing output cannot be read to be updated.
    #[error("cannot update {path}: {source}. Make it again with --force, or give another output")]
    Update {
        /// The output.
        path: PathBuf,
        /// The reason.
        source: TableError,
    },
    /// An existing output was written with other settings.
    #[error(
        "cannot update {path}: it was written with other settings ({difference}). Make it again with --force, or give \
         another output"
    )]
    UpdateSettings {
        /// The output.
        path: PathBuf,
        /// The setting that differs, with both values.
        difference: String,
    },
    /// The rows of a file are not together in an existing output.
    #[error(
        "cannot update {path}: the rows of {file} are not together. Make it again with --force, or give another output"
    )]
    UpdateOrder {
        /// The output.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// A file of an output that is updated no longer exists.
    #[error("not found; its rows in the output stay as they were")]
    Missing,
    /// A network address in a list of files.
    #[error("network addresses are not read: download the file and give its path")]
    Address,
    /// The output exists and may not be replaced.
    #[error("{path} exists; replace it with --force, or add what is new with --update")]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The path of the failure report is that of another file.
    #[error("{path} exists and is not a report of mert-embed; replace it with --force, or give --report another name")]
    ReportExists {
        /// The path of the report.
        path: PathBuf,
    },
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] FsError),
    /// The output or its journal could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The journal is of a run with other settings.
    #[error(
        "{path} holds an interrupted run with other settings ({difference}): continue with those, or discard it with \
         --restart"
    )]
    OtherSettings {
        /// The journal.
        path: PathBuf,
        /// The setting that differs, with both values.
        difference: String,
    },
    /// The file at the path of the journal is not a journal of this version.
    #[error("{path} is not a journal that can be continued: remove it, or discard it with --restart")]
    NotAJournal {
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
    /// The error of an input at `path`.
    pub(crate) fn input(path: &Path, reason: impl Into<String>) -> Self {
        EmbedError::Input { path: path.to_path_buf(), reason: reason.into() }
    }

    /// The error of a field of the configuration file at `path`.
    pub fn config(path: &Path, reason: impl Into<String>) -> Self {
        EmbedError::Config { path: path.to_path_buf(), reason: reason.into() }
    }

    /// The operating system's `source` while `path` was written.
    pub fn write(path: &Path, source: io::Error) -> Self {
        EmbedError::Write { path: path.to_path_buf(), source }
    }

    /// The error of reading the output at `path` to update it.
    pub(crate) fn update(path: &Path, source: TableError) -> Self {
        EmbedError::Update { path: path.to_path_buf(), source }
    }
}
