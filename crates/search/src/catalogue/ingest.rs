//! The one pass over the rows of a table that becomes a part: checks, the tracks, and the cached vectors.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use mert_table::{FileVersion, SourceFile};

use super::Group;
use super::index::VectorsWriter;
use super::rows::{KeptFile, TrackRows, for_each_track};
use super::tracks::{TrackRecord, Value};
use crate::{Result, SearchError};

/// What is known about a file whose rows are added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewTrack {
    /// The file's escaped path, if it is another than the rows say.
    pub file: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// The length of the file in seconds.
    pub duration: Option<f64>,
    /// What the file's tags say, by column.
    pub metadata: BTreeMap<String, Value>,
    /// What joined tables say, by column.
    pub joined: BTreeMap<String, Value>,
}

/// A file of a table that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFile {
    /// The file's escaped path.
    pub file: String,
    /// The window, the vector, and what is wrong with it.
    pub reason: String,
}

/// The tracks of a table.
#[derive(Debug)]
pub(super) struct Ingested {
    pub(super) tracks: Vec<TrackRecord>,
    pub(super) segments: usize,
    pub(super) refused: Vec<RefusedFile>,
    /// Files whose rows the catalogue has already: their escaped paths, their versions, and what is known of them.
    pub(super) unchanged: Vec<(String, Option<FileVersion>, NewTrack)>,
    /// The files whose rows are kept.
    pub(super) kept: Vec<KeptFile>,
}

impl Ingested {
    /// Whether some of the table's files are refused or have not changed.
    pub(super) fn is_partial(&self) -> bool {
        !self.refused.is_empty() || !self.unchanged.is_empty()
    }
}

/// Reads the rows of `table` once, and writes the vectors of the files that can be used. `has` says whether
/// the catalogue has the rows of a file already, by the name that `about` gives.
pub(super) fn ingest(
    table: &Path,
    groups: &[Group],
    vectors: &mut VectorsWriter<'_>,
    mut about: impl FnMut(&str) -> NewTrack,
    has: impl Fn(&str, &TrackRows) -> bool,
) -> Result<Ingested> {
    let (tracks, refused, unchanged, kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut found = Ingested { tracks, segments: 0, refused, unchanged, kept };
    // Names as the rows have them, and as the tracks will.
    let (mut files, mut names) = (HashSet::new(), HashSet::new());
    for_each_track(table, |rows| {
        if !files.insert(rows.file.clone()) {
            let reason = format!("the rows of {} are not together: make the table again with mert-embed", rows.file);
            return Err(SearchError::Rows { path: table.to_path_buf(), reason });
        }
        let index = files.len() - 1;
        if let Some(reason) = fault(rows, groups) {
            found.refused.push(RefusedFile { file: rows.file.clone(), reason });
            return Ok(());
        }
        let track = about(&rows.file);
        let name = track.file.clone().unwrap_or_else(|| rows.file.clone());
        if !names.insert(name.clone()) {
            let reason = format!("its path {name} is that of another file of the table");
            found.refused.push(RefusedFile { file: rows.file.clone(), reason });
            return Ok(());
        }
        if has(&name, rows) {
            found.unchanged.push((name, rows.version, track));
            return Ok(());
        }
        let NewTrack { sha256, duration, metadata, joined, .. } = track;
        vectors.push(&rows.times, &rows.values)?;
        let end = rows.times.iter().fold(0.0, |end: f64, times| end.max(times.1));
        found.segments += rows.windows.len();
        found.tracks.push(TrackRecord {
            file: name,
            version: rows.version,
            sha256,
            duration: duration.unwrap_or(0.0).max(end),
            segments: rows.windows.len() as u32,
            metadata,
            joined,
        });
        let file = SourceFile { name: rows.file.clone(), version: rows.version };
        found.kept.push(KeptFile { index, file, rows: rows.windows.len() });
        Ok(())
    })?;
    match (found.tracks.is_empty() && found.unchanged.is_empty(), found.refused.first()) {
        (false, _) => Ok(found),
        (true, None) => Err(SearchError::Rows { path: table.to_path_buf(), reason: "it has no rows".into() }),
        (true, Some(RefusedFile { file, reason })) => {
            let none = match found.refused.len() {
                1 => "its one file cannot be used".to_string(),
                files => format!("none of its {files} files can be used"),
            };
            let reason = format!("{none}; {file}: {reason}");
            Err(SearchError::Rows { path: table.to_path_buf(), reason })
        }
    }
}

/// What is wrong with the rows of a file, if anything is.
fn fault(rows: &TrackRows, groups: &[Group]) -> Option<String> {
    let width: usize = groups.iter().map(|group| group.dim).sum();
    if let Some((start, end)) = rows.times.iter().find(|(start, end)| !(0.0..*end).contains(start) || !end.is_finite())
    {
        return Some(format!("a window starts at {start} s and ends at {end} s"));
    }
    for (window, row) in rows.windows.iter().zip(rows.values.chunks_exact(width)) {
        let mut rest = row;
        for Group { column, dim, .. } in groups {
            let (values, after) = rest.split_at(*dim);
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Some(format!("window {window}: the vector {column} has the value {value}"));
            }
            if values.iter().all(|&value| value == 0.0) {
                return Some(format!("window {window}: the vector {column} is zero"));
            }
            rest = after;
        }
    }
    None
}
