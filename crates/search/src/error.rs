//! Errors of catalogues and searches.

use std::io;
use std::path::{Path, PathBuf};

use mert_fs::FsError;
use mert_table::{TableError, printable_path};
use thiserror::Error;

/// The reason why a catalogue cannot be read or changed, or a search cannot be answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// There is no catalogue at the path.
    #[error(
        "{} is not a catalogue: it has no catalogue.json. Make one with `mert-search add {} MUSIC --model MODEL`",
        printable_path(path),
        printable_path(path)
    )]
    NoCatalogue {
        /// The folder.
        path: PathBuf,
    },
    /// A catalogue cannot be made at the path, because something else is there.
    #[error(
        "{} is not a catalogue: {found}. The catalogue comes first, before the music: give a new or empty folder, or one \
         that `mert-search add` has made",
        printable_path(path)
    )]
    NotACatalogue {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A path that the user gave is that of no regular file.
    #[error("{} is {found}: expected a file; write what it holds to one first", printable_path(path))]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file of the catalogue cannot be read or written.
    #[error("{}: {source}", printable_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file of the catalogue is not what it should be.
    #[error("{} is damaged: {reason}. {remedy}", printable_path(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A cache that cannot be used and cannot be written again.
    #[error(
        "{}: its cache must be written again ({reason}), and cannot be: {source}. Run `mert-search verify --repair` where \
         the catalogue can be written",
        printable_path(path)
    )]
    Cache {
        /// The folder of the part.
        path: PathBuf,
        /// What is wrong with the cache.
        reason: String,
        /// The reason why it cannot be written.
        source: Box<SearchError>,
    },
    /// A file could not be written whole.
    #[error(transparent)]
    Write(#[from] FsError),
    /// A table of embeddings cannot be read.
    #[error("{}: {source}", printable_path(path))]
    Table {
        /// The table.
        path: PathBuf,
        /// The reason.
        source: TableError,
    },
    /// Another process is changing the catalogue.
    #[error(
        "{} is being changed by another process: wait for it, or stop it and give the command again",
        printable_path(path)
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// This user has no right to change the catalogue.
    #[error(
        "{} cannot be changed by this user, who can only read it: {source}. Change it as its owner, or change a copy",
        printable_path(path)
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Rows cannot be added to the catalogue.
    #[error("{}: {reason}", printable_path(path))]
    Rows {
        /// The table, or the file that the rows are of.
        path: PathBuf,
        /// The row, what was expected and what was found.
        reason: String,
    },
    /// A table of metadata cannot be joined.
    #[error("{}: {reason}", printable_path(path))]
    Metadata {
        /// The table.
        path: PathBuf,
        /// The line or column, what was expected and what was found.
        reason: String,
    },
    /// A file of judgments cannot be learned from.
    #[error("{}: {reason}", printable_path(path))]
    Judgments {
        /// The file.
        path: PathBuf,
        /// The line, what was expected and what was found.
        reason: String,
    },
    /// A file is not a metric that can be used.
    #[error("{}: {reason}", printable_path(path))]
    Metric {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A geometry, a filter or another part of a query that the catalogue cannot answer.
    #[error("{0}")]
    Query(String),
}

impl SearchError {
    /// The error of an operation on the file at `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| SearchError::Io { path, source }
    }

    /// The error of a file of the catalogue that cannot be restored from others.
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        let remedy = "Restore it from a copy, or make the catalogue again";
        SearchError::Damaged { path: path.to_path_buf(), reason: reason.into(), remedy }
    }
}
