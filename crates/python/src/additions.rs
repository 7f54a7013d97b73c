//! Additions to a catalogue: tables of embeddings, as `mert-search add CATALOGUE TABLE` adds them.

use std::path::{Path, PathBuf, absolute};
use std::sync::atomic::{AtomicBool, Ordering};

use mert_fs::sha256_file;
use mert_search::catalogue::tags::read_tags;
use mert_search::{NewTrack, SearchError, Writer};
use mert_table::{escape, unescape};
use pyo3::prelude::*;
use pythonize::pythonize;
use serde_json::{Value, json};

use crate::errors::of_search;
use crate::interrupt::stoppable;

/// Adds tables to the catalogue in `folder`, which is made if it is not there. Returns how many tracks of them were added, were
/// replaced and were there, and which were refused, as a dictionary. Tables that were added before are left as they are.
#[pyfunction]
pub(crate) fn add_tables<'py>(
    py: Python<'py>,
    folder: PathBuf,
    tables: Vec<PathBuf>,
    tags: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let added = stoppable(py, |stop| add(&folder, &tables, tags, stop))?.map_err(|error| of_search(&error))?;
    Ok(pythonize(py, &added)?)
}

/// Adds tables until `stop` is set. Each is a change of the catalogue of its own, which is made or not made.
fn add(folder: &Path, tables: &[PathBuf], tags: bool, stop: &AtomicBool) -> Result<Value, SearchError> {
    let mut writer = Writer::open(folder)?;
    let (mut tracks, mut segments, mut replaced, mut unchanged, mut refused) = (0, 0, 0, 0, Vec::new());
    for table in tables {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let files = writer.files_of(table, name)?;
        if files.iter().all(|(_, is_known)| *is_known) {
            unchanged += files.len();
            continue;
        }
        let added = writer.add(table, |file| about(file, tags))?;
        tracks += added.tracks;
        segments += added.segments;
        replaced += added.replaced;
        unchanged += added.unchanged;
        refused.extend(added.refused.iter().map(|file| json!({ "file": file.file, "reason": file.reason })));
    }
    Ok(json!({
        "tracks": tracks,
        "segments": segments,
        "replaced": replaced,
        "unchanged": unchanged,
        "refused": refused,
    }))
}

/// The name by which a catalogue knows a file of a table: its absolute path, if it is here.
fn name(file: &str) -> String {
    let path = unescape(file);
    match absolute(&path) {
        Ok(absolute) if path.is_file() => escape(&absolute),
        _ => file.to_string(),
    }
}

/// The digest and the tags of a file of a table, if they are wanted and the file is here.
fn about(file: &str, tags: bool) -> NewTrack {
    let path = unescape(file);
    let mut track = NewTrack { file: Some(name(file)), ..NewTrack::default() };
    if tags && path.is_file() {
        track.sha256 = sha256_file(&path).ok();
        track.metadata = read_tags(&path).0;
    }
    track
}
