//! Maps that are kept in the catalogue's folder, `cache/maps/`.

use std::fs;
use std::path::Path;

use mert_fs::sha256_bytes;
use serde::{Deserialize, Serialize};

use super::{Map, MapOptions, map, place};
use crate::vectors::{read_checked_json, write_checked_json};
use crate::{Result, SearchError, Space};

/// The origin of a map that [`cached`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapSource {
    /// It was computed.
    Computed,
    /// It was kept.
    Kept,
    /// It was kept, and so many tracks have been placed since.
    Extended(usize),
}

/// A kept map, and the parts of the catalogue by which its tracks are numbered.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    parts: Vec<String>,
    map: Map,
}

/// The map of a space as it is kept in the catalogue's folder, or else computed and kept.
///
/// A map is computed again when the catalogue's statistics have been, which is when a tenth of the segments has changed, or
/// with `refresh`. Other changes drop the points of removed tracks and place the new ones between their neighbours.
///
/// A map that cannot be kept, as in a folder that cannot be written, is returned all the same, with a note. `progress` gets
/// the share that is done, from 0 to 1.
///
/// # Errors
/// Those of [`map`].
pub fn cached(
    space: &Space<'_>,
    options: &MapOptions,
    refresh: bool,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<(Map, MapSource)> {
    let catalogue = space.catalogue();
    let parts: Vec<String> = catalogue.manifest().parts.iter().map(|part| part.name.clone()).collect();
    let key = serde_json::json!({
        "options": options,
        "geometry": space.geometry().describe(catalogue)?,
        "statistics": catalogue.manifest().statistics.digest.sha256,
    });
    let folder = catalogue.folder().join("cache").join("maps");
    let path = folder.join(format!("{}.json", &sha256_bytes(key.to_string().as_bytes())[..16]));
    // What cannot be read is computed: it is a cache.
    let entry: Option<Entry> = read_checked_json(&path);
    let live: Vec<usize> = catalogue.live().ones().collect();
    let entry = entry.filter(|entry| {
        let are_sound = entry.map.points.iter().all(|(track, ..)| *track < catalogue.tracks());
        !refresh && parts.starts_with(&entry.parts) && are_sound
    });
    let (map, source) = match entry {
        Some(Entry { mut map, .. }) => {
            let before = map.placed;
            if !map.points.iter().map(|(track, ..)| track).eq(&live) {
                place::place(space, &mut map, &live);
            }
            let placed = map.placed - before;
            (map, if placed > 0 { MapSource::Extended(placed) } else { MapSource::Kept })
        }
        None => (map(space, options, progress)?, MapSource::Computed),
    };
    if source == MapSource::Kept {
        return Ok((map, source));
    }
    let mut entry = Entry { parts, map };
    if let Err(error) = keep(&path, &entry) {
        entry.map.notes.push(format!("the map is not kept: {error}"));
    }
    Ok((entry.map, source))
}

fn keep(path: &Path, entry: &Entry) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(SearchError::io(folder))?;
    write_checked_json(path, entry)
}
