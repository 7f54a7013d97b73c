//! A part of a catalogue: the tracks that one change added, in a folder that never changes.
//!
//! `rows.parquet` has the segments as `mert-embed` writes them, `tracks.parquet` the tracks. `index/` is a cache made of
//! the two: for each group the vectors of segments and of tracks in a `.npy` file that is mapped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mert_table::TableReader;

use super::Group;
use super::manifest::PartEntry;
use super::tracks::{self, TrackRecord};
use crate::vectors::{Level, Matrix, write_matrix};
use crate::{Result, SearchError};

/// The segments of a part, as `mert-embed` writes them.
pub(super) const ROWS: &str = "rows.parquet";

/// The tracks of a part.
pub(super) const TRACKS: &str = "tracks.parquet";

/// An open part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) tracks: Vec<TrackRecord>,
    /// Start and end of each segment in seconds.
    pub(super) times: Vec<(f64, f64)>,
    /// For each group the vectors of tracks and of segments.
    pub(super) matrices: Vec<[Arc<Matrix>; 2]>,
}

impl Part {
    /// Opens the part in `folder`, whose cache is written if it is missing.
    pub(super) fn open(folder: &Path, entry: &PartEntry, groups: &[Group]) -> Result<Self> {
        let tracks = tracks::read(&folder.join(TRACKS))?;
        let segments: usize = tracks.iter().map(|track| track.segments as usize).sum();
        if tracks.len() != entry.tracks || segments != entry.segments {
            let (tracks, expected) = (tracks.len(), (entry.tracks, entry.segments));
            let reason =
                format!("expected {} tracks with {} segments, found {tracks} with {segments}", expected.0, expected.1);
            return Err(SearchError::damaged(&folder.join(TRACKS), reason));
        }
        let times = read_times(&folder.join(ROWS))?;
        let mut matrices = Vec::with_capacity(groups.len());
        if !matrix_path(folder, Level::Tracks, &groups[0]).exists() {
            build_index(folder, groups, &tracks)?;
        }
        for group in groups {
            let open = |level, rows| Matrix::open(&matrix_path(folder, level, group), rows, group.dim).map(Arc::new);
            matrices.push([open(Level::Tracks, tracks.len())?, open(Level::Segments, segments)?]);
        }
        Ok(Part { tracks, times, matrices })
    }
}

/// The path of the cached vectors of `group` in the part in `folder`.
fn matrix_path(folder: &Path, level: Level, group: &Group) -> PathBuf {
    let level = match level {
        Level::Tracks => "tracks",
        Level::Segments => "segments",
    };
    folder.join("index").join(format!("{level}.{}.npy", group.column))
}

fn open_rows(path: &Path) -> Result<TableReader> {
    TableReader::open(path).map_err(|source| SearchError::Table { path: path.to_path_buf(), source })
}

fn read_times(path: &Path) -> Result<Vec<(f64, f64)>> {
    let mut times = Vec::new();
    let read = open_rows(path)?.for_each_position(|row| {
        times.push((row.start, row.end));
        Ok(())
    });
    read.map_err(|source| SearchError::Table { path: path.to_path_buf(), source })?;
    Ok(times)
}

/// Writes the cache of the part in `folder`: the vectors of segments, and of tracks their means.
pub(super) fn build_index(folder: &Path, groups: &[Group], tracks: &[TrackRecord]) -> Result<()> {
    let index = folder.join("index");
    fs::create_dir_all(&index).map_err(SearchError::io(&index))?;
    let path = folder.join(ROWS);
    let mut segments: Vec<Vec<f32>> = groups.iter().map(|_| Vec::new()).collect();
    let read = open_rows(&path)?.for_each_row(|row| {
        let mut rest = row.values;
        for (group, segments) in groups.iter().zip(&mut segments) {
            let (values, after) = rest.split_at(group.dim);
            segments.extend_from_slice(values);
            rest = after;
        }
        Ok(())
    });
    read.map_err(|source| SearchError::Table { path: path.clone(), source })?;
    for (group, segments) in groups.iter().zip(&segments) {
        let mut rest = &segments[..];
        let mut means: Vec<f32> = Vec::with_capacity(tracks.len() * group.dim);
        for track in tracks {
            let (rows, after) = rest.split_at(track.segments as usize * group.dim);
            means.extend((0..group.dim).map(|index| {
                let sum: f64 = rows.iter().skip(index).step_by(group.dim).map(|&value| f64::from(value)).sum();
                (sum / f64::from(track.segments)) as f32
            }));
            rest = after;
        }
        write_matrix(&matrix_path(folder, Level::Segments, group), group.dim, segments)?;
        write_matrix(&matrix_path(folder, Level::Tracks, group), group.dim, &means)?;
    }
    Ok(())
}
