//! Which rows of a joined table are of which tracks.

use std::collections::BTreeMap;
use std::path::Path;

use mert_table::unescape;

use super::{Cell, RawTable};
use crate::catalogue::Catalogue;

/// The number of rows without a track for which the nearest name is looked for: that goes over all tracks.
const NEAREST: usize = 3;

/// The rows of tracks.
pub(super) struct Matches {
    /// The row of each track that has one, the last if there are several.
    pub(super) tracks: BTreeMap<usize, usize>,
    /// Rows that are of no track, by their paths, and the nearest names for the first of them.
    pub(super) unmatched: Vec<(String, Option<String>)>,
    /// The number of rows of a track that a later row is of as well.
    pub(super) repeated: usize,
}

impl Matches {
    /// Finds the tracks of the rows of the table at `path`, whose column `key` has the paths.
    pub(super) fn of(catalogue: &Catalogue, path: &Path, table: &RawTable, key: usize) -> Self {
        let folder = mert_fs::parent_folder(path);
        let mut matches = Matches { tracks: BTreeMap::new(), unmatched: Vec::new(), repeated: 0 };
        for (index, row) in table.rows.iter().enumerate() {
            let name = match row.get(key) {
                Some(Cell::Text(text)) => text.clone(),
                Some(Cell::Number(number)) => number.to_string(),
                _ => String::new(),
            };
            let named = unescape(&name);
            let beside = || if named.is_relative() { catalogue.find(&folder.join(&named)) } else { None };
            let found = match name.is_empty() {
                true => None,
                false => catalogue.find_file(&name).or_else(beside).or_else(|| catalogue.find(&named)),
            };
            match found {
                Some(track) if matches.tracks.insert(track, index).is_some() => matches.repeated += 1,
                Some(_) => {}
                None => {
                    let nearest = if matches.unmatched.len() < NEAREST { nearest(catalogue, &named) } else { None };
                    matches.unmatched.push((name, nearest));
                }
            }
        }
        matches
    }
}

/// The track whose file name is most like that of `path`, if any is like it.
fn nearest(catalogue: &Catalogue, path: &Path) -> Option<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let wanted = name(path)?;
    let similarity = |track: usize| {
        let found = name(Path::new(catalogue.track(track).file)).unwrap_or_default();
        (track, strsim::normalized_damerau_levenshtein(&wanted, &found))
    };
    let best = catalogue.live().ones().map(similarity).max_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|&(_, similarity)| similarity > 0.6).map(|(track, _)| catalogue.track(track).file.to_string())
}
