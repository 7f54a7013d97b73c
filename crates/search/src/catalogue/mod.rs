//! A catalogue: a folder of Parquet tables with the vectors of tracks and what is known about them.
//!
//! ```text
//! catalogue.json               what belongs to it, replaced as a whole with each change: `manifest.rs`
//! parts/000001/rows.parquet    segments, as mert-embed writes them: `part.rs`, `rows.rs`, `ingest.rs`
//! parts/000001/tracks.parquet  tracks, their tags, and what was joined by path: `tracks.rs`
//! parts/000001/index/          a cache of both, mapped by searches: `index/`
//! statistics-000001.safetensors means and principal components: `statistics.rs`
//! staging/                     the journal of files that are being embedded
//! lock                         locked by the process that changes the catalogue: `writer/`
//! ```

mod columns;
mod derived;
mod index;
mod ingest;
mod intact;
mod join;
mod manifest;
mod merge;
mod part;
mod rows;
mod statistics;
pub mod tags;
mod tracks;
mod verify;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fixedbitset::FixedBitSet;
use mert_table::{FileVersion, Provenance, escape, unescape};

pub use self::columns::{Column, ColumnKind, Texts};
use self::index::JOINED;
pub use self::ingest::{NewTrack, RefusedFile};
pub use self::join::{Joined, MetadataTable, UnmatchedRow};
pub use self::manifest::{FileDigest, FileEntry, Manifest, PartEntry};
use self::part::Part;
pub use self::statistics::Statistics;
pub use self::tracks::{TrackRecord, Value};
pub use self::verify::{Verification, verify};
pub use self::writer::{Added, Freed, Writer};
use crate::vectors::{DerivedCache, Level, Vectors};
use crate::{Result, SearchError};

/// The column of the measured loudness, which is no tag.
pub(crate) const LOUDNESS: &str = "loudness";

/// A group of vectors: one hidden state of one encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The short name: `6`, or `mert_6` among several encoders.
    pub name: String,
    /// The name of the column in `rows.parquet`: `hidden_state_6`, or `mert_hidden_state_6` among several encoders.
    pub column: String,
    /// The number of values in a vector.
    pub dim: usize,
}

impl Group {
    /// The groups of a table with `settings`, in order.
    pub(crate) fn of(settings: &Provenance) -> Vec<Group> {
        let group = |vector: mert_table::Vector<'_>| {
            let state = vector.hidden_state;
            let name = vector.encoder.map_or_else(|| state.to_string(), |encoder| format!("{encoder}_{state}"));
            Group { name, column: vector.column(), dim: vector.dim }
        };
        settings.vectors().map(group).collect()
    }
}

/// A catalogue as it was when it was opened. Tracks and segments are numbered through all parts, those that have been
/// removed included; [`Catalogue::live`] has the others.
///
/// Tables and vectors are mapped, and columns are made when they are first used. Read at once are only the bitmap of tracks
/// that are live, and the cached times and tables of tracks for their checksums.
#[derive(Debug)]
pub struct Catalogue {
    folder: PathBuf,
    manifest: Manifest,
    groups: Vec<Group>,
    parts: Vec<Part>,
    /// The first track of each part, and the number of all.
    tracks: Vec<usize>,
    /// The first segment of each part, and the number of all.
    segments: Vec<usize>,
    live: FixedBitSet,
    /// For each group the vectors of tracks and of segments.
    vectors: Vec<[Vectors; 2]>,
    statistics: Statistics,
    column_names: BTreeSet<String>,
    columns: Mutex<BTreeMap<String, Arc<Column>>>,
    notes: Vec<String>,
    derived: DerivedCache,
}

/// A track of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Track<'a> {
    /// The file's path, escaped by [`mert_table::escape`].
    pub file: &'a str,
    /// The length of the file in seconds.
    pub duration: f64,
    /// Its segments.
    pub segments: Range<usize>,
}

impl Track<'_> {
    /// The file's path.
    pub fn path(&self) -> PathBuf {
        unescape(self.file)
    }
}

/// A segment of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// The track.
    pub track: usize,
    /// Its start, in seconds from the start of the file.
    pub start: f64,
    /// Its end, in seconds from the start of the file.
    pub end: f64,
}

impl Catalogue {
    /// Opens the catalogue in `folder` as it is now.
    ///
    /// # Errors
    /// [`SearchError::NoCatalogue`], [`SearchError::Io`], [`SearchError::Damaged`], [`SearchError::Table`], and
    /// [`SearchError::Cache`] where a cache must be written again and cannot be.
    pub fn open(folder: &Path) -> Result<Self> {
        /// The number of changes, each just before the files of the last state are opened, after which this gives up.
        const ATTEMPTS: usize = 20;
        let mut attempt = 1;
        loop {
            let manifest = Manifest::read(folder)?;
            let generation = manifest.generation;
            match Catalogue::with_manifest(folder, manifest, None) {
                // A compaction removes the files of the state before it.
                Err(error) if attempt < ATTEMPTS && Manifest::read(folder)?.generation != generation => {
                    let _ = error;
                    attempt += 1;
                }
                catalogue => return catalogue,
            }
        }
    }

    /// Opens the state that `manifest` describes; statistics are read unless they are given.
    fn with_manifest(folder: &Path, manifest: Manifest, statistics: Option<Statistics>) -> Result<Self> {
        let groups = Group::of(&manifest.settings);
        let dims: Vec<usize> = groups.iter().map(|group| group.dim).collect();
        let statistics = match statistics {
            Some(statistics) => statistics,
            None => Statistics::read(&folder.join(&manifest.statistics.path), &manifest.statistics.digest, &dims)?,
        };
        let mut notes = Vec::new();
        let mut parts = Vec::with_capacity(manifest.parts.len());
        let (mut tracks, mut segments) = (vec![0], vec![0]);
        let mut live = FixedBitSet::new();
        let mut column_names = BTreeSet::new();
        for entry in &manifest.parts {
            let part = Part::open(&part::folder_of(folder, entry), entry, &groups, &mut notes)?;
            let (first, count) = (live.len(), entry.tracks);
            live.grow(first + count);
            live.insert_range(first..);
            entry.removed.iter().filter(|&&index| index < count).for_each(|&index| live.remove(first + index));
            tracks.push(first + count);
            segments.push(segments.last().copied().unwrap_or(0) + entry.segments);
            column_names.extend(part.tracks.columns().map(|name| match name.strip_prefix(JOINED) {
                Some(name) => name.to_string(),
                None => name,
            }));
            parts.push(part);
        }
        let vectors = groups.iter().enumerate().map(|(index, group)| {
            [0, 1].map(|level| {
                Vectors::new(parts.iter().map(|part| part.matrices[index][level].clone()).collect(), group.dim)
            })
        });
        Ok(Catalogue {
            folder: folder.to_path_buf(),
            vectors: vectors.collect(),
            manifest,
            groups,
            parts,
            tracks,
            segments,
            live,
            statistics,
            column_names,
            columns: Mutex::default(),
            notes,
            derived: DerivedCache::default(),
        })
    }

    /// Sets what the next state of the catalogue has in addition.
    fn set_statistics(&mut self, manifest: Manifest, statistics: Statistics) {
        self.manifest = manifest;
        self.statistics = statistics;
    }

    /// Whether a part is in `manifest` as well.
    fn shares_parts_with(&self, manifest: &Manifest) -> bool {
        let names: BTreeSet<&String> = manifest.parts.iter().map(|entry| &entry.name).collect();
        self.manifest.parts.iter().any(|entry| names.contains(&entry.name))
    }

    /// What was done while the catalogue was opened, such as writing a cache again.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the catalogue consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The settings of all rows, the models among them.
    pub fn settings(&self) -> &Provenance {
        &self.manifest.settings
    }

    /// The groups of vectors, of which a [`crate::Geometry`] weights some.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The number of tracks, removed ones included.
    pub fn tracks(&self) -> usize {
        self.tracks.last().copied().unwrap_or(0)
    }

    /// The number of segments, those of removed tracks included.
    pub fn segments(&self) -> usize {
        self.segments.last().copied().unwrap_or(0)
    }

    /// The number of segments of tracks that have not been removed.
    pub fn live_segments(&self) -> usize {
        let removed = self.parts.iter().zip(&self.manifest.parts).flat_map(|(part, entry)| {
            entry.removed.iter().filter(|&&index| index < entry.tracks).map(|&index| part.tracks.segments(index).len())
        });
        self.segments() - removed.sum::<usize>()
    }

    /// The number of rows of a level, those of removed tracks included.
    pub fn rows(&self, level: Level) -> usize {
        match level {
            Level::Tracks => self.tracks(),
            Level::Segments => self.segments(),
        }
    }

    /// The tracks that have not been removed.
    pub fn live(&self) -> &FixedBitSet {
        &self.live
    }

    /// The part of a track, and its number there.
    fn place(&self, track: usize) -> (usize, usize) {
        let part = self.tracks.partition_point(|&start| start <= track).saturating_sub(1);
        (part, track - self.tracks[part])
    }

    /// A track.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn track(&self, track: usize) -> Track<'_> {
        let (part, index) = self.place(track);
        let (tracks, first) = (&self.parts[part].tracks, self.segments[part]);
        let segments = tracks.segments(index);
        let segments = first + segments.start..first + segments.end;
        Track { file: tracks.file(index), duration: tracks.duration(index), segments }
    }

    /// Size and time of a track's file when it was embedded, if they are known.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn version(&self, track: usize) -> Option<FileVersion> {
        let (part, index) = self.place(track);
        self.parts[part].tracks.version(index)
    }

    /// SHA-256 of a track's file when it was embedded, in hexadecimal, if it is known.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn sha256(&self, track: usize) -> Option<String> {
        let (part, index) = self.place(track);
        self.parts[part].tracks.sha256(index)
    }

    /// What is known of a track, by column: by its tags, the measured `loudness` among them, and by joined tables.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn values(&self, track: usize) -> [BTreeMap<String, Value>; 2] {
        let (part, index) = self.place(track);
        merge::values(&self.parts[part], index)
    }

    /// A segment.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn segment(&self, segment: usize) -> Segment {
        let part = self.segments.partition_point(|&start| start <= segment).saturating_sub(1);
        let (found, index) = (&self.parts[part], segment - self.segments[part]);
        let (start, end) = found.times.of(index);
        Segment { track: self.tracks[part] + found.tracks.track_of(index), start, end }
    }

    /// The live track of the file at `path`: of that path as it is, of the absolute one, of the one that links lead to, or
    /// of the one without `..`, whose folders need not exist.
    pub fn find(&self, path: &Path) -> Option<usize> {
        let absolute = || std::path::absolute(path).ok().and_then(|path| self.find_file(&escape(&path)));
        let resolved = || path.canonicalize().ok().and_then(|path| self.find_file(&escape(&path)));
        let normalized = || self.find_file(&escape(&without_parents(&std::path::absolute(path).ok()?)));
        self.find_file(&escape(path)).or_else(absolute).or_else(resolved).or_else(normalized)
    }

    /// The live track of the file whose escaped path is `file`.
    pub fn find_file(&self, file: &str) -> Option<usize> {
        self.parts.iter().zip(&self.tracks).rev().find_map(|(part, first)| {
            let found = part.tracks.find(file).iter().map(|&index| first + index as usize);
            found.filter(|&track| self.live.contains(track)).last()
        })
    }

    /// The vectors of a group, by its index in [`Catalogue::groups`].
    ///
    /// # Panics
    /// If there is no such group.
    pub fn vectors(&self, level: Level, group: usize) -> &Vectors {
        &self.vectors[group][level as usize]
    }

    /// Values derived from rows that searches have used.
    pub(crate) fn derived(&self) -> &DerivedCache {
        &self.derived
    }

    /// Statistics of the vectors.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The names of the columns with metadata, in alphabetical order.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.column_names.iter().map(String::as_str)
    }

    /// A column of metadata. It is made when it is first asked for.
    ///
    /// # Errors
    /// [`SearchError::Query`] if there is none of that name, with the names that there are.
    pub fn column(&self, name: &str) -> Result<Arc<Column>> {
        if !self.column_names.contains(name) {
            let names = self.column_names().collect::<Vec<_>>().join(", ");
            return Err(SearchError::Query(format!(
                "the catalogue has no column `{}`; it has {names}",
                crate::excerpt(name)
            )));
        }
        let columns = || self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(column) = columns().get(name) {
            return Ok(column.clone());
        }
        let column = Arc::new(merge::column(&self.parts, &self.manifest.parts, name)?);
        Ok(columns().entry(name.to_string()).or_insert(column).clone())
    }
}

/// An absolute path in which each `..` has taken away the folder before it.
pub fn without_parents(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normalized.pop();
            }
            component => normalized.push(component),
        }
    }
    normalized
}
