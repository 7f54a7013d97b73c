//! The file `catalogue.json`: what a catalogue consists of. It is replaced as a whole, so that every change of a catalogue
//! happens at once or not at all.

mod checks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mert_fs::replace_file;
use mert_table::{Provenance, escape, unescape};
use serde::{Deserialize, Serialize};

use super::part::{ROWS, TRACKS};
use crate::{Result, SearchError};

/// The name of the manifest in the folder of a catalogue.
pub(super) const FILE: &str = "catalogue.json";

/// The value of `format` in every manifest.
const FORMAT: &str = "mert-search catalogue";

/// The version of the format that this program reads and writes.
const VERSION: u32 = 1;

/// The content of `catalogue.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    /// The number of changes since the catalogue was made.
    pub generation: u64,
    /// The settings of all rows, the models among them.
    pub settings: Provenance,
    /// The parts in order: each holds the tracks that one change added.
    pub parts: Vec<PartEntry>,
    /// The file with the statistics of the vectors, relative to the catalogue.
    pub statistics: FileEntry,
    /// The places of the models, one for each encoder in the order of its vectors: absolute paths, escaped by
    /// [`mert_table::escape`], or names on the hub. Empty if the rows come from a table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
}

/// A part: a folder of `parts/` that never changes once it is in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartEntry {
    /// The name of the folder.
    pub name: String,
    /// The number of tracks.
    pub tracks: usize,
    /// The number of segments.
    pub segments: usize,
    /// The files that are the truth, `rows.parquet` and the table of tracks, by name.
    pub files: BTreeMap<String, FileDigest>,
    /// The tracks of this part that have been removed or replaced: numbers in the part, ascending.
    #[serde(default)]
    pub removed: Vec<usize>,
}

/// A file of a catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The path, relative to the catalogue.
    pub path: String,
    /// Size and digest.
    #[serde(flatten)]
    pub digest: FileDigest,
}

/// The size and digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// The size in bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// The fields that tell whether the others can be read.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// Parses the manifest at `path`. Errors name the field.
fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a [u8]) -> Result<T> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let (field, reason) = (error.path().to_string(), error.inner().to_string());
        SearchError::damaged(path, if field == "." { reason } else { format!("{field}: {reason}") })
    })?;
    parser.end().map_err(|error| SearchError::damaged(path, error.to_string()))?;
    Ok(parsed)
}

impl FileDigest {
    /// The size and digest of the file at `path`.
    ///
    /// # Errors
    /// [`SearchError::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let size = fs::metadata(path).map_err(SearchError::io(path))?.len();
        let sha256 = mert_fs::sha256_file(path).map_err(SearchError::io(path))?;
        Ok(FileDigest { size, sha256 })
    }
}

impl PartEntry {
    /// The name of the table of tracks: the file that is not `rows.parquet`.
    pub fn tracks_table(&self) -> &str {
        self.files.keys().map(String::as_str).find(|&name| name != ROWS).unwrap_or(TRACKS)
    }
}

impl Manifest {
    /// A catalogue without parts.
    pub fn new(settings: Provenance, statistics: FileEntry) -> Self {
        Manifest {
            format: FORMAT.into(),
            version: VERSION,
            generation: 0,
            settings,
            parts: Vec::new(),
            statistics,
            models: Vec::new(),
        }
    }

    /// The manifest of the next change, so far without that change.
    pub(super) fn next(&self) -> Self {
        Manifest { generation: self.generation + 1, ..self.clone() }
    }

    /// The places of the models, one for each encoder in the order of its vectors: paths, or names on the hub. Empty if the
    /// catalogue does not know them.
    pub fn models(&self) -> Vec<PathBuf> {
        self.models.iter().map(|model| unescape(model)).collect()
    }

    /// Remembers the places of the models.
    pub(super) fn set_models(&mut self, models: &[PathBuf]) {
        self.models = models.iter().map(|model| escape(model)).collect();
    }

    /// Reads the manifest of the catalogue in `folder`.
    ///
    /// # Errors
    /// [`SearchError::NoCatalogue`], [`SearchError::Io`], [`SearchError::Damaged`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SearchError::NoCatalogue { path: folder.to_path_buf() });
            }
            Ok(found) if !found.is_file() => return Err(SearchError::damaged(&path, "it is not a regular file")),
            found => found.map_err(SearchError::io(&path))?,
        };
        let text = fs::read(&path).map_err(SearchError::io(&path))?;
        // The version comes first: another one may have other fields.
        let header: Header = parse(&path, &text)?;
        if header.format != FORMAT {
            let reason = format!("format: found {:?}, expected {FORMAT:?}", header.format);
            return Err(SearchError::damaged(&path, reason));
        }
        if header.version != VERSION {
            let reason = format!("version: found {}, expected {VERSION}", header.version);
            let remedy = "Another version of mert-search wrote it: use that one, or make the catalogue again";
            return Err(SearchError::Damaged { path, reason, remedy });
        }
        let manifest: Manifest = parse(&path, &text)?;
        if let Some(fault) = checks::fault(&manifest) {
            return Err(SearchError::damaged(&path, fault));
        }
        Ok(manifest)
    }

    /// Replaces the manifest of the catalogue in `folder`.
    ///
    /// # Errors
    /// [`SearchError::Write`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| SearchError::Io { path: folder.join(FILE), source: error.into() })?;
        Ok(replace_file(&folder.join(FILE), |file| file.write_all(&text))?)
    }
}
