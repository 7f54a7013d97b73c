//! Errors of embedding: those that end a run, and those of single files.

use std::io;
use std::path::{Path, PathBuf};

use mert_arch::{SelectionError, printable_line};
use mert_audio::AudioError;
use mert_fs::FsError;
use mert_table::{Projection, TableError, printable_path};
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
    Layers(#[from] SelectionError),
    /// The audio cannot be decoded or embedded.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The model's file does not keep the head that frames are to be passed through.
    #[error(
        "--project {projection}: the model's file has no {projection}. Convert the original checkpoint again with \
         `mert-convert --keep {projection}`"
    )]
    NoProjection {
        /// The projection.
        projection: Projection,
    },
    /// The encoders of a run cannot be combined.
    #[error("the encoders cannot be combined: {reason}")]
    Hybrid {
        /// The contradiction and what to do.
        reason: String,
    },
    /// Two inputs would have the same file of features.
    #[error(
        "{} and {} would both be written to {}: give them in two runs with two folders",
        printable_path(first),
        printable_path(second),
        printable_path(output)
    )]
    SameOutput {
        /// An input.
        first: PathBuf,
        /// The other input.
        second: PathBuf,
        /// The file of both.
        output: PathBuf,
    },
    /// There is no input.
    #[error("no inputs: give files, folders or --list FILE")]
    NoInputs,
    /// A list, an input folder, the configuration or the model's file cannot be read.
    #[error("cannot read {}: {source}", printable_path(path))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A folder or list cannot be used.
    #[error("{}: {reason}", printable_path(path))]
    Input {
        /// The folder or list.
        path: PathBuf,
        /// The fault and what to do.
        reason: String,
    },
    /// The configuration file cannot be used.
    #[error("{}: {reason}", printable_path(path))]
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
    #[error("cannot update {}: {source}. Make it again with --force, or give another output", printable_path(path))]
    Update {
        /// The output.
        path: PathBuf,
        /// The reason.
        source: TableError,
    },
    /// An existing output was written with other settings.
    #[error(
        "cannot update {}: it was written with other settings ({difference}). Give those (the arithmetic with --dtype, where --fast \
         chooses another now), make it again with --force, or give another output",
        printable_path(path)
    )]
    UpdateSettings {
        /// The output.
        path: PathBuf,
        /// The setting that differs, with both values.
        difference: String,
    },
    /// The rows of a file are not together in an existing output.
    #[error(
        "cannot update {}: the rows of {} are not together. Make it again with --force, or give another output",
        printable_path(path),
        printable_line(file)
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
    #[error("{} exists; replace it with --force, or add what is new to a table with --update", printable_path(path))]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The path of the failure report is that of another file.
    #[error(
        "{} exists and is not a report of mert-embed; replace it with --force, or give --report another name",
        printable_path(path)
    )]
    ReportExists {
        /// The path of the report.
        path: PathBuf,
    },
    /// The output or the report cannot be written.
    #[error(transparent)]
    Report(#[from] FsError),
    /// The output or its journal could not be written.
    #[error("cannot write {}: {source}", printable_path(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The journal is of a run with other settings.
    #[error(
        "{} holds an interrupted run with other settings ({difference}): continue with those (the arithmetic with --dtype, where \
         --fast chooses another now), or discard it with --restart",
        printable_path(path)
    )]
    OtherSettings {
        /// The journal.
        path: PathBuf,
        /// The setting that differs, with both values.
        difference: String,
    },
    /// A passage of a file that is not there.
    #[error("{reason}")]
    Passage {
        /// The times, and where the file ends.
        reason: String,
    },
    /// The file at the path of the journal is not a journal of this version.
    #[error("{} is not a journal that can be continued: remove it, or discard it with --restart", printable_path(path))]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// Another program is writing the same output.
    #[error("{} is in use: another mert-embed writes the same output", printable_path(path))]
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
    /// The operating system's `source` while `path` was read.
    pub fn read(path: &Path, source: io::Error) -> Self {
        EmbedError::Read { path: path.to_path_buf(), source }
    }

    /// The error of the folder or list at `path`.
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
