//! Vectors at 4 bits a value in a file of `turbovec`, with what is known about it in a file beside it.
//!
//! turbovec's file has no checksum, and most flipped bits would load and answer differently: its digest is in the other file,
//! and is checked.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use mert_fs::{AtomicFile, replace_file, sha256_file};
use serde::{Deserialize, Serialize};
use turbovec::TurboQuantIndex;

use crate::{Result, SearchError};

/// An open index of compressed vectors.
#[derive(Debug)]
pub(crate) struct Compressed {
    pub(crate) index: TurboQuantIndex,
    pub(crate) about: About,
}

/// What is known about a file of compressed vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The digest of turbovec's file.
    sha256: String,
    /// The name of the geometry and its statistics.
    pub(crate) geometry: String,
    /// The parts whose rows it has, in order: their names and the digests of their rows.
    pub(crate) parts: Vec<(String, String)>,
    /// The number of those rows.
    pub(crate) rows: usize,
    /// The number of candidates for 10 hits.
    pub(crate) candidates: usize,
    /// The share of the 10 nearest neighbours that are found with them, on a sample of rows.
    pub(crate) recall_at_10: f64,
}

impl About {
    /// What is known about vectors of `rows` rows in `parts` that are placed by `geometry`.
    pub(crate) fn new(geometry: String, parts: Vec<(String, String)>, rows: usize) -> Self {
        About { sha256: String::new(), geometry, parts, rows, candidates: 0, recall_at_10: 0.0 }
    }

    /// What the file beside the one at `path` says.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path.with_extension("json")).ok()?).ok()
    }

    /// Whether the file at `path` has the digest of the one that this describes.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        sha256_file(path).is_ok_and(|digest| digest == self.sha256)
    }
}

impl Compressed {
    /// Opens the file at `path` that `about` describes; `None` if it is missing, damaged or another one.
    pub(crate) fn open(path: &Path, about: About) -> Option<Self> {
        if !about.is_of(path) {
            return None;
        }
        let index = TurboQuantIndex::load(path).ok().filter(|index| index.len() == about.rows)?;
        Some(Compressed { index, about })
    }

    /// Writes the vectors to `path`, and then what is known about them.
    ///
    /// # Errors
    /// [`SearchError::Io`] or [`SearchError::Write`].
    pub(crate) fn write(&mut self, path: &Path) -> Result<()> {
        let mut output = AtomicFile::create(path, true)?;
        let mut written = || {
            let mut buffer = BufWriter::new(output.file_mut());
            self.index.write_to_writer(&mut buffer)?;
            buffer.flush()
        };
        written().map_err(SearchError::io(path))?;
        output.commit()?;
        self.about.sha256 = sha256_file(path).map_err(SearchError::io(path))?;
        let about = serde_json::to_vec_pretty(&self.about)
            .map_err(|error| SearchError::Io { path: path.to_path_buf(), source: error.into() })?;
        Ok(replace_file(&path.with_extension("json"), |file| file.write_all(&about))?)
    }
}
