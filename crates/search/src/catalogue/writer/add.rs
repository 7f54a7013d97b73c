//! Adding the rows of a table as a part.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixedbitset::FixedBitSet;
use mert_fs::AtomicFolder;

use super::{Writer, mark_removed};
use crate::catalogue::index::{FOLDER, Index, VectorsWriter};
use crate::catalogue::ingest::{NewTrack, RefusedFile, ingest};
use crate::catalogue::manifest::{FileDigest, FileEntry, Manifest, PartEntry};
use crate::catalogue::part::{ROWS, TRACKS};
use crate::catalogue::rows::{KeptRows, settings_of};
use crate::catalogue::{Group, tracks};
use crate::{Result, SearchError};

/// The result of adding a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Added {
    /// The number of tracks that were added.
    pub tracks: usize,
    /// The number of their segments.
    pub segments: usize,
    /// The number of tracks of the same files that they replace.
    pub replaced: usize,
    /// The files of the table that cannot be used and were left out.
    pub refused: Vec<RefusedFile>,
}

impl Writer {
    /// Adds the rows of a table that mert-embed wrote as a part; tracks of the same files are replaced. `about` tells what
    /// is known of a file, given its escaped path. Files with a vector that is zero or not finite are left out.
    ///
    /// # Errors
    /// [`SearchError::Rows`] for rows of another model or other settings, rows without pooling, a table without a file that
    /// can be used, and files whose rows are not together.
    pub fn add(&mut self, table: &Path, about: impl FnMut(&str) -> NewTrack) -> Result<Added> {
        self.add_table(table, about, |table, rows| fs::copy(table, rows).map(drop), false)
    }

    /// Adds a table as [`Writer::add`] does, and moves it instead of copying it. It must be on the same file system.
    ///
    /// # Errors
    /// As [`Writer::add`]; the table may then be gone.
    pub fn add_moved(&mut self, table: &Path, about: impl FnMut(&str) -> NewTrack) -> Result<Added> {
        self.add_table(table, about, |table, rows| fs::rename(table, rows), false)
    }

    /// Moves a table as [`Writer::add_moved`] does, and makes it the only part.
    pub(super) fn add_in_place_of_all(&mut self, table: &Path, about: impl FnMut(&str) -> NewTrack) -> Result<Added> {
        self.add_table(table, about, |table, rows| fs::rename(table, rows), true)
    }

    fn add_table(
        &mut self,
        table: &Path,
        mut about: impl FnMut(&str) -> NewTrack,
        take: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
        replaces_all: bool,
    ) -> Result<Added> {
        let settings = settings_of(table)?;
        if let Some(difference) = self.settings().and_then(|stored| settings.difference_in_values(stored)) {
            let reason = format!(
                "its rows have other settings than the catalogue's: {}",
                difference.replacen(": now ", ": ", 1).replacen(", then ", " in the table, ", 1) + " in the catalogue"
            );
            return Err(SearchError::Rows { path: table.to_path_buf(), reason });
        }
        let statistics = FileEntry { path: String::new(), digest: FileDigest { size: 0, sha256: String::new() } };
        let manifest = self.manifest().cloned().unwrap_or_else(|| Manifest::new(settings.clone(), statistics));
        let mut manifest = manifest.next();
        let groups = Group::of(&settings);
        let parts = self.folder.join("parts");
        fs::create_dir_all(&parts).map_err(SearchError::io(&parts))?;
        let name = format!("{:06}", manifest.generation);
        let folder = AtomicFolder::create(&parts.join(&name), false, "a part of a catalogue", |_| false)?;
        let temporary = folder.temporary_path().to_path_buf();
        let rows = temporary.join(ROWS);
        take(table, &rows).map_err(SearchError::io(table))?;

        let mut vectors = VectorsWriter::create(&temporary.join(FOLDER), &groups)?;
        // What was joined belongs to the file, and outlives its rows.
        let about = |file: &str| {
            let mut track = about(file);
            let name = track.file.as_deref().unwrap_or(file);
            if let Some((catalogue, at)) = self.catalogue().and_then(|all| Some((all, all.find_file(name)?)))
                && track.joined.is_empty()
            {
                track.joined = catalogue.joined(at);
            }
            track
        };
        let found = ingest(&rows, &groups, &mut vectors, about).map_err(|error| name_table(error, &rows, table))?;
        if !found.refused.is_empty() {
            let mut kept = KeptRows { tables: vec![(rows.clone(), found.kept)] };
            mert_table::write(&rows, &settings, &mut kept)
                .map_err(|source| SearchError::Table { path: rows.clone(), source })?;
        }
        fs::File::open(&rows).and_then(|file| file.sync_all()).map_err(SearchError::io(&rows))?;
        tracks::write(&temporary.join(TRACKS), &found.tracks)?;
        let mut files = BTreeMap::new();
        for file in [ROWS, TRACKS] {
            files.insert(file.to_string(), FileDigest::of(&temporary.join(file))?);
        }
        vectors.finish(&files[ROWS].sha256)?;
        let index = Index {
            part: temporary,
            groups: &groups,
            rows: &files[ROWS].sha256,
            table: (TRACKS, &files[TRACKS].sha256),
        };
        index.write_table(&found.tracks)?;
        folder.commit()?;

        let mut replaced = FixedBitSet::new();
        if replaces_all {
            manifest.parts.clear();
        } else if let Some(catalogue) = self.catalogue() {
            replaced.grow(catalogue.tracks());
            found.tracks.iter().filter_map(|track| catalogue.find_file(&track.file)).for_each(|at| replaced.insert(at));
            mark_removed(catalogue, &mut manifest, &replaced);
        }
        let (tracks, segments) = (found.tracks.len(), found.segments);
        manifest.parts.push(PartEntry { name, tracks, segments, files, removed: Vec::new() });
        self.commit(manifest)?;
        Ok(Added { tracks, segments, replaced: replaced.count_ones(..), refused: found.refused })
    }
}

/// An error about the rows that were taken from `table`, with the name that the user gave.
fn name_table(error: SearchError, rows: &Path, table: &Path) -> SearchError {
    let table = table.to_path_buf();
    match error {
        SearchError::Rows { path, reason } if path == rows => SearchError::Rows { path: table, reason },
        SearchError::Table { path, source } if path == rows => SearchError::Table { path: table, source },
        other => other,
    }
}
