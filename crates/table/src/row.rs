//! Rows: the file that a row is of, its position in that file, and its vectors.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file_name::{escape, unescape};

/// A file's size and time, which detect changes since it was embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileVersion {
    /// Size in bytes.
    pub size: u64,
    /// Modification time in microseconds since 1970 (UTC).
    pub modified: i64,
}

/// A file that rows of a table are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The file's path, escaped by [`escape`].
    pub name: String,
    /// The file's version when it was embedded; `None` for a source without one, such as standard input.
    pub version: Option<FileVersion>,
}

impl SourceFile {
    /// The file at `path` in the given version.
    pub fn new(path: &Path, version: Option<FileVersion>) -> Self {
        SourceFile { name: escape(path), version }
    }
}

/// The part of a file that a row is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// The index of the file in [`crate::RowSource::files`].
    pub file: usize,
    /// The number of the window in its file, from 0.
    pub window: u32,
    /// The number of the frame in its window, from 0; `None` for a row that is a pooled window.
    pub frame: Option<u32>,
    /// Start of the window or frame, in seconds from the start of the file.
    pub start: f64,
    /// End of the window or frame, in seconds from the start of the file.
    pub end: f64,
}

/// A row of a table that is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// The file's path, escaped by [`escape`].
    pub file: &'a str,
    /// The file's version when it was embedded, if it is known.
    pub version: Option<FileVersion>,
    /// The number of the window in its file, from 0.
    pub window: u32,
    /// The number of the frame in its window, from 0; `None` for a row that is a pooled window.
    pub frame: Option<u32>,
    /// Start of the window or frame, in seconds from the start of the file.
    pub start: f64,
    /// End of the window or frame, in seconds from the start of the file.
    pub end: f64,
    /// The vectors, `(hidden states, dim)`, of several encoders one after the other; empty if only positions are read.
    pub values: &'a [f32],
}

impl Row<'_> {
    /// The file's path.
    pub fn path(&self) -> PathBuf {
        unescape(self.file)
    }
}
