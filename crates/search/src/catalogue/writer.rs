//! Changes of a catalogue. One process at a time holds the lock; a change is a new part, and then a new manifest.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use mert_fs::AtomicFolder;
use mert_table::{Provenance, Settings, TableReader};

use super::manifest::{FileDigest, FileEntry, Manifest, PartEntry};
use super::part::{self, ROWS, TRACKS};
use super::statistics::Statistics;
use super::tracks::{self, TrackRecord, Value};
use super::{Catalogue, Group};
use crate::{Result, SearchError};

/// The file whose lock the process that changes a catalogue holds.
const LOCK: &str = "lock";

/// The right to change a catalogue, which one process has at a time.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    manifest: Option<Manifest>,
    _lock: File,
}

/// What is known about a file whose rows are added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewTrack {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// The length of the file in seconds.
    pub duration: Option<f64>,
    /// What else is known, by column.
    pub metadata: BTreeMap<String, Value>,
}

impl Writer {
    /// Opens the catalogue in `folder`, which is created if there is none, for changes.
    ///
    /// # Errors
    /// [`SearchError::Locked`] if another process changes it, and those of reading it.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(SearchError::io(folder))?;
        let path = folder.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path).map_err(SearchError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SearchError::Locked { path: folder.to_path_buf() }),
            Err(TryLockError::Error(source)) => return Err(SearchError::Io { path, source }),
        }
        let manifest = match Manifest::read(folder) {
            Err(SearchError::NoCatalogue { .. }) => None,
            manifest => Some(manifest?),
        };
        Ok(Writer { folder: folder.to_path_buf(), manifest, _lock: lock })
    }

    /// The settings of the rows; `None` if the catalogue is new.
    pub fn settings(&self) -> Option<&Provenance> {
        self.manifest.as_ref().map(|manifest| &manifest.settings)
    }

    /// Adds the rows of a table that mert-embed wrote as a part; tracks of the same files are replaced. `about` tells what
    /// is known of a file, given its escaped path.
    ///
    /// # Errors
    /// [`SearchError::Rows`] for rows of another model or other settings, rows without pooling, a vector that is zero or
    /// not finite, and files whose rows are not together.
    pub fn add(&mut self, table: &Path, about: impl FnMut(&str) -> NewTrack) -> Result<()> {
        let (settings, tracks) = self.check(table, about)?;
        let groups = Group::of(&settings);
        let parts = self.folder.join("parts");
        fs::create_dir_all(&parts).map_err(SearchError::io(&parts))?;
        let generation = self.manifest.as_ref().map_or(0, |manifest| manifest.generation) + 1;
        let name = format!("{generation:06}");
        // A part that no manifest names is what a killed process left.
        if parts.join(&name).exists() {
            fs::remove_dir_all(parts.join(&name)).map_err(SearchError::io(&parts.join(&name)))?;
        }
        let folder = AtomicFolder::create(&parts.join(&name), false, "a part of a catalogue", |_| false)?;
        let temporary = folder.temporary_path();
        fs::copy(table, temporary.join(ROWS)).map_err(SearchError::io(&temporary.join(ROWS)))?;
        tracks::write(&temporary.join(TRACKS), &tracks)?;
        let mut files = BTreeMap::new();
        for file in [ROWS, TRACKS] {
            files.insert(file.to_string(), FileDigest::of(&temporary.join(file))?);
        }
        part::build_index(temporary, &groups, &tracks)?;
        folder.commit()?;

        let statistics = FileEntry { path: String::new(), digest: FileDigest { size: 0, sha256: String::new() } };
        let mut manifest = self.manifest.clone().unwrap_or_else(|| Manifest::new(settings, statistics));
        manifest.generation = generation;
        self.remove_replaced(&mut manifest, &tracks)?;
        manifest.parts.push(PartEntry {
            name,
            tracks: tracks.len(),
            segments: tracks.iter().map(|track| track.segments as usize).sum(),
            files,
            removed: Vec::new(),
        });
        self.commit(manifest)
    }

    /// Checks the rows of `table`, and returns its settings and tracks.
    fn check(&self, table: &Path, mut about: impl FnMut(&str) -> NewTrack) -> Result<(Provenance, Vec<TrackRecord>)> {
        let refused = |reason: String| SearchError::Rows { path: table.to_path_buf(), reason };
        let failed = |source| SearchError::Table { path: table.to_path_buf(), source };
        let mut reader = TableReader::open(table).map_err(failed)?;
        let Some(Settings::Full(settings)) = reader.settings().cloned() else {
            return Err(refused("it does not record its settings: give a .parquet table".into()));
        };
        if settings.pool.has_frames() {
            return Err(refused(
                "it has a row for each frame; a catalogue needs windows: embed with --pool mean".into(),
            ));
        }
        if let Some(difference) = self.settings().and_then(|stored| settings.difference_in_values(stored)) {
            return Err(refused(format!("its rows have other settings than the catalogue's: {difference}")));
        }
        let groups = Group::of(&settings);
        let mut tracks: Vec<TrackRecord> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut invalid = None;
        let read = reader.for_each_row(|row| {
            if tracks.last().is_none_or(|track| track.file != row.file) {
                let NewTrack { sha256, duration, metadata } = about(row.file);
                if known.insert(row.file.to_string(), tracks.len()).is_some() {
                    invalid.get_or_insert(format!("the rows of {} are not together", row.file));
                }
                let (file, version) = (row.file.to_string(), row.version);
                let duration = duration.unwrap_or(0.0);
                tracks.push(TrackRecord { file, version, sha256, duration, segments: 0, metadata });
            }
            if let Some(track) = tracks.last_mut() {
                track.segments += 1;
                track.duration = track.duration.max(row.end);
            }
            let mut rest = row.values;
            for group in &groups {
                let (values, after) = rest.split_at(group.dim);
                let fault = match values.iter().find(|value| !value.is_finite()) {
                    Some(value) => Some(format!("has the value {value}")),
                    None => values.iter().all(|&value| value == 0.0).then(|| "is zero".to_string()),
                };
                if let Some(fault) = fault {
                    let (file, window, name) = (row.file, row.window, &group.column);
                    invalid.get_or_insert(format!("{file}, window {window}: the vector {name} {fault}"));
                }
                rest = after;
            }
            Ok(())
        });
        read.map_err(failed)?;
        match invalid {
            Some(reason) => Err(refused(reason)),
            None if tracks.is_empty() => Err(refused("it has no rows".into())),
            None => Ok((*settings, tracks)),
        }
    }

    /// Marks the tracks of earlier parts whose files are among `tracks` as removed.
    fn remove_replaced(&self, manifest: &mut Manifest, tracks: &[TrackRecord]) -> Result<()> {
        let new: std::collections::HashSet<&str> = tracks.iter().map(|track| track.file.as_str()).collect();
        for entry in &mut manifest.parts {
            let stored = tracks::read(&self.folder.join("parts").join(&entry.name).join(TRACKS))?;
            let replaced = stored.iter().enumerate().filter(|(_, track)| new.contains(track.file.as_str()));
            entry.removed.extend(replaced.map(|(index, _)| index));
            entry.removed.sort_unstable();
            entry.removed.dedup();
        }
        Ok(())
    }

    /// Writes statistics if they are due, and then the manifest.
    fn commit(&mut self, mut manifest: Manifest) -> Result<()> {
        let catalogue = Catalogue::with_manifest(&self.folder, manifest.clone(), Statistics::default())?;
        let live: usize = catalogue.live().ones().map(|track| catalogue.track(track).segments.len()).sum();
        let before = match manifest.statistics.path.as_str() {
            "" => 0,
            path => Statistics::read(&self.folder.join(path), &catalogue.dims())?.segments,
        };
        if live.abs_diff(before) * 10 > before {
            let path = format!("statistics-{:06}.safetensors", manifest.generation);
            catalogue.compute_statistics().write(&self.folder.join(&path))?;
            manifest.statistics = FileEntry { digest: FileDigest::of(&self.folder.join(&path))?, path };
        }
        manifest.write(&self.folder)?;
        self.manifest = Some(manifest);
        Ok(())
    }
}
