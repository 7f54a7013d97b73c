//! The cache of a part, the folder `index/`: vectors and tracks in files that are mapped and used in place.
//!
//! | | made of | |
//! |---|---|---|
//! | `segments.hidden_state_6.npy`, … | `rows.parquet` | a vector for each segment |
//! | `tracks.hidden_state_6.npy`, … | `rows.parquet` | a vector for each track: the mean of its segments |
//! | `segments.times.npy` | `rows.parquet` | start and end of each segment in seconds |
//! | `tracks.safetensors`, … | `tracks.parquet`, … | the table of tracks, column by column |
//! | `index.json` | | sizes, checksums, and the digests of what the files were made of |
//!
//! Each file is replaced as a whole and has the same bytes whoever writes it, so that several readers may write it at once.

mod arrays;
mod npy;
mod record;
mod track_table;
mod vectors;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mert_fs::{AtomicFile, MappedFile};

pub(super) use self::npy::Times;
use self::record::CacheFile;
pub(super) use self::record::Record;
pub(super) use self::track_table::{CachedColumn, JOINED, TrackTable, column_names};
pub(super) use self::vectors::{VectorsWriter, mean};
use super::Group;
use super::tracks::TrackRecord;
use crate::vectors::{Level, Matrix, REBUILD, checksum};
use crate::{Result, SearchError};

/// The name of the folder in that of the part.
pub(super) const FOLDER: &str = "index";

/// The name of the file with the times of segments.
const TIMES: &str = "segments.times.npy";

/// The name of the file with the vectors of `group`.
fn matrix_name(level: Level, group: &Group) -> String {
    let level = match level {
        Level::Tracks => "tracks",
        Level::Segments => "segments",
    };
    format!("{level}.{}.npy", group.column)
}

/// The name of the cached form of a table of tracks.
fn table_name(table: &str) -> String {
    format!("{}.safetensors", table.trim_end_matches(".parquet"))
}

/// The cache of a part, and what it was made of.
#[derive(Debug, Clone)]
pub(super) struct Index<'a> {
    /// The folder of the part.
    pub(super) part: PathBuf,
    pub(super) groups: &'a [Group],
    /// SHA-256 of `rows.parquet`.
    pub(super) rows: &'a str,
    /// The name of the table of tracks, and its SHA-256.
    pub(super) table: (&'a str, &'a str),
}

impl Index<'_> {
    /// The folder of the cache.
    pub(super) fn folder(&self) -> PathBuf {
        self.part.join(FOLDER)
    }

    fn vector_files(&self) -> impl Iterator<Item = String> {
        let matrices = self
            .groups
            .iter()
            .flat_map(|group| [Level::Tracks, Level::Segments].map(|level| matrix_name(level, group)));
        matrices.chain([TIMES.to_string()])
    }

    /// The reason why the cached vectors cannot be used, if there is one.
    pub(super) fn vectors_fault(&self, record: &Record) -> Option<String> {
        let fault = self.vector_files().find_map(|name| record.fault(&self.folder(), &name, self.rows));
        fault.or_else(|| self.checksum_fault(record, TIMES))
    }

    /// The reason why the cached table of tracks cannot be used, if there is one.
    pub(super) fn table_fault(&self, record: &Record) -> Option<String> {
        let name = table_name(self.table.0);
        record.fault(&self.folder(), &name, self.table.1).or_else(|| self.checksum_fault(record, &name))
    }

    /// Compares the checksum of a file that is small beside the vectors, and whose values nothing else checks.
    fn checksum_fault(&self, record: &Record, name: &str) -> Option<String> {
        match MappedFile::open(&self.folder().join(name)) {
            Err(error) => Some(format!("index/{name}: {error}")),
            Ok(file) if record.checksum(name) == Some(checksum(file.bytes())) => None,
            Ok(_) => Some(format!("index/{name} has another checksum than when it was written")),
        }
    }

    /// The names of files of this cache whose bytes have changed since they were written.
    pub(super) fn damaged_files(&self, record: &Record) -> Result<Vec<String>> {
        let mut damaged = Vec::new();
        for name in self.vector_files().chain([table_name(self.table.0)]) {
            let path = self.folder().join(&name);
            let file = MappedFile::open(&path).map_err(SearchError::io(&path))?;
            if record.checksum(&name) != Some(checksum(file.bytes())) {
                damaged.push(name);
            }
        }
        Ok(damaged)
    }

    /// Maps the vectors of each group, of `tracks` tracks and of `segments` segments.
    pub(super) fn open_matrices(&self, tracks: usize, segments: usize) -> Result<Vec<[Matrix; 2]>> {
        let open =
            |group: &Group, level, rows| Matrix::open(&self.folder().join(matrix_name(level, group)), rows, group.dim);
        let open = |group| Ok([open(group, Level::Tracks, tracks)?, open(group, Level::Segments, segments)?]);
        self.groups.iter().map(open).collect()
    }

    /// Maps the times of `segments` segments.
    pub(super) fn open_times(&self, segments: usize) -> Result<Times> {
        Times::open(&self.folder().join(TIMES), segments)
    }

    /// Maps the table of `tracks` tracks with `segments` segments.
    pub(super) fn open_table(&self, tracks: usize, segments: usize) -> Result<TrackTable> {
        TrackTable::open(&self.folder().join(table_name(self.table.0)), tracks, segments)
    }

    /// Writes the cached table of `tracks`.
    pub(super) fn write_table(&self, tracks: &[TrackRecord]) -> Result<()> {
        self.write_table_in(&self.folder(), tracks)
    }

    /// Writes the cached table of `tracks` to `folder`, which becomes that of the cache.
    pub(super) fn write_table_in(&self, folder: &Path, tracks: &[TrackRecord]) -> Result<()> {
        fs::create_dir_all(folder).map_err(SearchError::io(folder))?;
        let name = table_name(self.table.0);
        let path = folder.join(&name);
        let bytes = table_bytes(tracks, &path)?;
        let mut file = AtomicFile::create(&path, true)?;
        file.file_mut().write_all(&bytes).map_err(SearchError::io(&path))?;
        file.commit()?;
        let entry = CacheFile { size: bytes.len() as u64, crc32: crc32fast::hash(&bytes), source: self.table.1.into() };
        let mut record = Record::default();
        record.files.insert(name, entry);
        record.write(folder)
    }

    /// Whether the cached table has the bytes that [`Index::write_table`] would write.
    pub(super) fn has_table(&self, tracks: &[TrackRecord]) -> Result<bool> {
        let path = self.folder().join(table_name(self.table.0));
        let found = fs::read(&path).map_err(SearchError::io(&path))?;
        Ok(found == table_bytes(tracks, &path)?)
    }
}

fn table_bytes(tracks: &[TrackRecord], path: &Path) -> Result<Vec<u8>> {
    track_table::serialize(tracks).map_err(|error| SearchError::Damaged {
        path: path.to_path_buf(),
        reason: error.to_string(),
        remedy: REBUILD,
    })
}
