//! A catalogue: a folder of Parquet tables with the vectors of tracks and what is known about them.
//!
//! ```text
//! catalogue.json               what belongs to it, replaced as a whole with each change: `manifest.rs`
//! parts/000001/rows.parquet    segments, as mert-embed writes them: `part.rs`
//! parts/000001/tracks.parquet  tracks and their tags: `tracks.rs`
//! parts/000001/index/          a cache of the vectors, mapped by searches
//! statistics-000001.safetensors means and principal components: `statistics.rs`
//! metadata/                    tables that were joined by path
//! lock                         locked by the process that changes the catalogue: `writer.rs`
//! ```

mod columns;
mod manifest;
mod part;
mod statistics;
mod tracks;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use mert_table::{Provenance, escape, unescape};

pub use self::columns::{Column, ColumnKind, Texts};
pub use self::manifest::{FileDigest, FileEntry, Manifest, PartEntry};
use self::part::Part;
pub use self::statistics::Statistics;
pub use self::tracks::{TrackRecord, Value};
pub use self::writer::{NewTrack, Writer};
use crate::vectors::{Level, MAX_COMPONENTS, NormsCache, Vectors, mean, principal_components};
use crate::{Result, SearchError};

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
#[derive(Debug)]
pub struct Catalogue {
    folder: PathBuf,
    manifest: Manifest,
    groups: Vec<Group>,
    tracks: Vec<TrackRecord>,
    /// The first segment of each track, and the number of all.
    starts: Vec<usize>,
    /// Start and end of each segment in seconds.
    times: Vec<(f64, f64)>,
    live: FixedBitSet,
    /// For each group the vectors of tracks and of segments.
    vectors: Vec<[Vectors; 2]>,
    statistics: Statistics,
    columns: BTreeMap<String, Arc<Column>>,
    files: HashMap<String, usize>,
    norms: NormsCache,
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
    /// [`SearchError::NoCatalogue`], [`SearchError::Io`], [`SearchError::Damaged`], [`SearchError::Table`].
    pub fn open(folder: &Path) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        let dims: Vec<usize> = Group::of(&manifest.settings).iter().map(|group| group.dim).collect();
        let statistics = Statistics::read(&folder.join(&manifest.statistics.path), &dims)?;
        Catalogue::with_manifest(folder, manifest, statistics)
    }

    fn with_manifest(folder: &Path, manifest: Manifest, statistics: Statistics) -> Result<Self> {
        let groups = Group::of(&manifest.settings);
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for entry in &manifest.parts {
            parts.push(Part::open(&folder.join("parts").join(&entry.name), entry, &groups)?);
        }
        let vectors = groups.iter().enumerate().map(|(index, group)| {
            [0, 1].map(|level| {
                Vectors::new(parts.iter().map(|part| part.matrices[index][level].clone()).collect(), group.dim)
            })
        });
        let vectors = vectors.collect();
        let mut live = FixedBitSet::new();
        let (mut tracks, mut times) = (Vec::new(), Vec::new());
        for (part, entry) in parts.into_iter().zip(&manifest.parts) {
            let first = tracks.len();
            tracks.extend(part.tracks);
            times.extend(part.times);
            live.grow(tracks.len());
            live.insert_range(first..);
            entry.removed.iter().for_each(|&index| live.remove(first + index));
        }
        let mut starts = vec![0];
        starts.extend(tracks.iter().scan(0, |segments, track: &TrackRecord| {
            *segments += track.segments as usize;
            Some(*segments)
        }));
        let files = live.ones().map(|track| (tracks[track].file.clone(), track)).collect();
        let columns = columns(&tracks);
        Ok(Catalogue {
            folder: folder.to_path_buf(),
            manifest,
            groups,
            tracks,
            starts,
            times,
            live,
            vectors,
            statistics,
            columns,
            files,
            norms: NormsCache::default(),
        })
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

    pub(crate) fn dims(&self) -> Vec<usize> {
        self.groups.iter().map(|group| group.dim).collect()
    }

    /// The number of tracks, removed ones included.
    pub fn tracks(&self) -> usize {
        self.tracks.len()
    }

    /// The number of segments, those of removed tracks included.
    pub fn segments(&self) -> usize {
        self.times.len()
    }

    /// The tracks that have not been removed.
    pub fn live(&self) -> &FixedBitSet {
        &self.live
    }

    /// A track.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn track(&self, track: usize) -> Track<'_> {
        let record = &self.tracks[track];
        let segments = self.starts[track]..self.starts[track + 1];
        Track { file: &record.file, duration: record.duration, segments }
    }

    /// A segment.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn segment(&self, segment: usize) -> Segment {
        let track = self.starts.partition_point(|&start| start <= segment) - 1;
        let (start, end) = self.times[segment];
        Segment { track, start, end }
    }

    /// The live track of the file at `path`.
    pub fn find(&self, path: &Path) -> Option<usize> {
        self.files.get(&escape(path)).copied()
    }

    /// The vectors of a group, by its index in [`Catalogue::groups`].
    ///
    /// # Panics
    /// If there is no such group.
    pub fn vectors(&self, level: Level, group: usize) -> &Vectors {
        &self.vectors[group][level as usize]
    }

    /// The lengths of rows that searches have used.
    pub(crate) fn norms(&self) -> &NormsCache {
        &self.norms
    }

    /// Statistics of the vectors.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The names of the columns with metadata, in alphabetical order.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// A column of metadata.
    ///
    /// # Errors
    /// [`SearchError::Query`] if there is none of that name, with the names that there are.
    pub fn column(&self, name: &str) -> Result<Arc<Column>> {
        self.columns.get(name).cloned().ok_or_else(|| {
            let names = self.column_names().collect::<Vec<_>>().join(", ");
            SearchError::Query(format!("the catalogue has no column `{name}`; it has {names}"))
        })
    }

    fn compute_statistics(&self) -> Statistics {
        let rows: Vec<usize> = self.live.ones().flat_map(|track| self.track(track).segments).collect();
        let mut statistics = Statistics { segments: rows.len(), ..Statistics::default() };
        for group in 0..self.groups.len() {
            let vectors = self.vectors(Level::Segments, group);
            let mean = mean(vectors, &rows);
            statistics.components.push(principal_components(vectors, &rows, &mean, MAX_COMPONENTS));
            statistics.means.push(mean);
        }
        statistics
    }
}

/// The columns of all tracks.
fn columns(tracks: &[TrackRecord]) -> BTreeMap<String, Arc<Column>> {
    let names: std::collections::BTreeSet<&String> = tracks.iter().flat_map(|track| track.metadata.keys()).collect();
    let column = |name: &String| {
        let values = || tracks.iter().map(|track| track.metadata.get(name));
        if values().flatten().all(|value| matches!(value, Value::Number(_))) {
            let number =
                |value: Option<&Value>| if let Some(Value::Number(number)) = value { *number } else { f64::NAN };
            return Column::Number(values().map(number).collect());
        }
        let texts: Vec<Vec<String>> = values()
            .map(|value| match value {
                Some(Value::Texts(texts)) => texts.clone(),
                Some(Value::Number(number)) => vec![number.to_string()],
                None => Vec::new(),
            })
            .collect();
        Column::Text(Texts::new(texts.iter().map(|texts| texts.iter().map(String::as_str))))
    };
    names.into_iter().map(|name| (name.clone(), Arc::new(column(name)))).collect()
}
