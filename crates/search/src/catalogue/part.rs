//! A part of a catalogue: the tracks that one change added, in a folder whose files never change.
//!
//! `rows.parquet` has the segments as `mert-embed` writes them, `tracks.parquet` the tracks; where tracks were moved or their
//! metadata changed, `tracks-000007.parquet`, which the change of that number wrote, takes its place. `index/` is a cache of
//! the two.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mert_fs::AtomicFolder;

use super::Group;
use super::index::{Index, Record, Times, TrackTable, VectorsWriter};
use super::manifest::PartEntry;
use super::{rows, tracks};
use crate::vectors::Matrix;
use crate::{Result, SearchError};

/// The segments of a part, as `mert-embed` writes them.
pub(super) const ROWS: &str = "rows.parquet";

/// The first table of a part's tracks.
pub(super) const TRACKS: &str = "tracks.parquet";

/// An open part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) tracks: TrackTable,
    pub(super) times: Times,
    /// For each group the vectors of tracks and of segments.
    pub(super) matrices: Vec<[Arc<Matrix>; 2]>,
}

/// The folder of a part in the catalogue in `folder`.
pub(super) fn folder_of(folder: &Path, entry: &PartEntry) -> PathBuf {
    folder.join("parts").join(&entry.name)
}

/// The cache of the part in `folder`.
pub(super) fn index_of<'a>(folder: &Path, entry: &'a PartEntry, groups: &'a [Group]) -> Index<'a> {
    let digest = |name: &str| entry.files.get(name).map_or("", |file| file.sha256.as_str());
    let table = entry.tracks_table();
    Index { part: folder.to_path_buf(), groups, rows: digest(ROWS), table: (table, digest(table)) }
}

impl Part {
    /// Opens the part in `folder`. A cache that is missing, cut short, of other tables, or whose times or table of tracks have
    /// other checksums is written again, which `notes` then say.
    pub(super) fn open(folder: &Path, entry: &PartEntry, groups: &[Group], notes: &mut Vec<String>) -> Result<Self> {
        for (name, expected) in &entry.files {
            let path = folder.join(name);
            let found = fs::metadata(&path).map_err(SearchError::io(&path))?.len();
            if found != expected.size {
                let reason = format!("expected {} bytes, found {found}", expected.size);
                return Err(SearchError::damaged(&path, reason));
            }
        }
        let index = index_of(folder, entry, groups);
        let record = Record::read(&index.folder());
        let (vectors, table) = (index.vectors_fault(&record), index.table_fault(&record));
        let fault = vectors.clone().or(table);
        if let Some(fault) = fault {
            rebuild(&index, entry, vectors.is_some(), &fault, notes)?;
        }
        match Part::map(&index, entry) {
            Err(SearchError::Damaged { path, reason, .. }) if path.starts_with(index.folder()) => {
                let fault = format!("{}: {reason}", path.file_name().unwrap_or_default().display());
                rebuild(&index, entry, true, &fault, notes)?;
                Part::map(&index, entry)
            }
            part => part,
        }
    }

    fn map(index: &Index<'_>, entry: &PartEntry) -> Result<Self> {
        let matrices = index.open_matrices(entry.tracks, entry.segments)?;
        Ok(Part {
            tracks: index.open_table(entry.tracks, entry.segments)?,
            times: index.open_times(entry.segments)?,
            matrices: matrices.into_iter().map(|pair| pair.map(Arc::new)).collect(),
        })
    }
}

/// Writes the cache again, with the vectors or only the table of tracks, because of `fault`.
pub(super) fn rebuild(
    index: &Index<'_>,
    entry: &PartEntry,
    with_vectors: bool,
    fault: &str,
    notes: &mut Vec<String>,
) -> Result<()> {
    let table = index.part.join(index.table.0);
    let tracks = tracks::read(&table)?;
    let segments: usize = tracks.iter().map(|track| track.segments as usize).sum();
    if tracks.len() != entry.tracks || segments != entry.segments {
        let (tracks, expected) = (tracks.len(), (entry.tracks, entry.segments));
        let reason =
            format!("expected {} tracks with {} segments, found {tracks} with {segments}", expected.0, expected.1);
        return Err(SearchError::damaged(&table, reason));
    }
    let written = if with_vectors { rebuild_all(index, &tracks) } else { index.write_table(&tracks) };
    written.map_err(|source| match source {
        SearchError::Io { .. } | SearchError::Write(_) => {
            SearchError::Cache { path: index.part.clone(), reason: fault.to_string(), source: Box::new(source) }
        }
        other => other,
    })?;
    notes.push(format!("{}: its cache is written again: {fault}", mert_table::printable_path(&index.part)));
    Ok(())
}

fn rebuild_all(index: &Index<'_>, tracks: &[tracks::TrackRecord]) -> Result<()> {
    let path = index.part.join(ROWS);
    let found = Group::of(&rows::settings_of(&path)?);
    if found != index.groups {
        let names = |groups: &[Group]| {
            let names = groups.iter().map(|group| format!("{} of {} values", group.column, group.dim));
            names.collect::<Vec<_>>().join(", ")
        };
        let reason = format!("expected the vectors {}, found {}", names(index.groups), names(&found));
        return Err(SearchError::damaged(&path, reason));
    }
    let folder = AtomicFolder::create(&index.folder(), true, "a cache", |_| true)?;
    let temporary = folder.temporary_path();
    let mut vectors = VectorsWriter::create(temporary, index.groups)?;
    let mut found = 0;
    rows::for_each_track(&path, |rows| {
        let expected = tracks.get(found).map(|track| track.segments as usize);
        if expected != Some(rows.windows.len()) {
            let (found, expected) = (rows.windows.len(), expected.unwrap_or(0));
            return Err(SearchError::damaged(&path, format!("{} has {found} rows: expected {expected}", rows.file)));
        }
        found += 1;
        vectors.push(&rows.times, &rows.values)
    })?;
    if found != tracks.len() {
        let reason = format!("it has the rows of {found} files: expected {}", tracks.len());
        return Err(SearchError::damaged(&path, reason));
    }
    vectors.finish(index.rows)?;
    index.write_table_in(temporary, tracks)?;
    Ok(folder.commit()?)
}
