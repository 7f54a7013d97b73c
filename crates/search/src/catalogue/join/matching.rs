//! Which rows of a joined table are of which tracks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_table::{escape, unescape};

use super::{Cell, RawTable, text};
use crate::catalogue::Catalogue;

/// The number of rows without a track for which the nearest name is looked for: that goes over all tracks.
const NEAREST: usize = 3;

/// A row that is of no track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedRow {
    /// Its path.
    pub path: String,
    /// Where it is in the table, such as `line 4`.
    pub place: String,
    /// The nearest name of a track, for the first of them.
    pub nearest: Option<String>,
}

/// The rows of tracks.
pub(super) struct Matches {
    /// The row of each track that has one, the last if there are several.
    pub(super) tracks: BTreeMap<usize, usize>,
    /// Rows that are of no track.
    pub(super) unmatched: Vec<UnmatchedRow>,
    /// The number of rows of a track that a later row is of as well.
    pub(super) repeated: usize,
}

impl Matches {
    /// Finds the tracks of the rows of the table at `path`, whose column `key` has the paths.
    pub(super) fn of(catalogue: &Catalogue, path: &Path, table: &RawTable, key: usize) -> Self {
        let folder = mert_fs::parent_folder(path);
        let mut matches = Matches { tracks: BTreeMap::new(), unmatched: Vec::new(), repeated: 0 };
        for (index, row) in table.rows.iter().enumerate() {
            let names = names(row.get(key).unwrap_or(&Cell::Unknown));
            match names.iter().find_map(|name| find(catalogue, folder, name)) {
                Some(track) if matches.tracks.insert(track, index).is_some() => matches.repeated += 1,
                Some(_) => {}
                None => {
                    let name = names.into_iter().next_back().unwrap_or_default();
                    let is_searched = matches.unmatched.len() < NEAREST && !name.is_empty();
                    let nearest = if is_searched { nearest(catalogue, &unescape(&name)) } else { None };
                    let place = format!("{} {}", table.unit, table.lines[index]);
                    matches.unmatched.push(UnmatchedRow { path: name, place, nearest });
                }
            }
        }
        matches
    }
}

/// The escaped paths that a cell may be.
fn names(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::Text(text) => vec![text.clone()],
        Cell::Number(number) => vec![number.to_string()],
        // Names of files are bytes, and a table that was made on the same machine may have them as they are.
        Cell::Bytes(bytes) => vec![escape(&path_of(bytes)), text::text(bytes).into_owned()],
        Cell::Unknown | Cell::List(_) => Vec::new(),
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;

        PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
    }
    #[cfg(not(unix))]
    PathBuf::from(text::text(bytes).into_owned())
}

/// The track of the escaped path `name`, which may start from `folder` or the current one.
fn find(catalogue: &Catalogue, folder: &Path, name: &str) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let named = unescape(name);
    let beside = || if named.is_relative() { catalogue.find(&folder.join(&named)) } else { None };
    catalogue.find_file(name).or_else(beside).or_else(|| catalogue.find(&named))
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
