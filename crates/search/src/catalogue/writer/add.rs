//! Adding the rows of a table as a part.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use fixedbitset::FixedBitSet;
use mert_fs::AtomicFolder;
use mert_table::FileVersion;

use super::{Writer, mark_removed};
use crate::catalogue::index::{FOLDER, Index, VectorsWriter};
use crate::catalogue::ingest::{NewTrack, RefusedFile, ingest};
use crate::catalogue::manifest::{FileDigest, FileEntry, Manifest, PartEntry};
use crate::catalogue::part::{ROWS, TRACKS};
use crate::catalogue::rows::{KeptRows, TrackRows, for_each_track, settings_of};
use crate::catalogue::tracks::TrackRecord;
use crate::catalogue::{Catalogue, Group, LOUDNESS, tracks};
use crate::vectors::Level;
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
    /// The number of files whose rows the catalogue had already.
    pub unchanged: usize,
    /// The number of replaced tracks whose loudness was known and no longer is: their files have changed.
    pub lost_loudness: usize,
    /// The files of the table that cannot be used and were left out.
    pub refused: Vec<RefusedFile>,
}

impl Writer {
    /// Adds the rows of a table that mert-embed wrote as a part. `about` tells what is known of a file, given its escaped path.
    /// Files with a vector that is zero or not finite are left out. Tracks of the same files are replaced, unless they have
    /// the same rows: then they stay, with what is known in addition. What was joined is kept, as are the tags and the
    /// loudness of a file that cannot be read now or has not changed.
    ///
    /// # Errors
    /// [`SearchError::Rows`] for rows of another model or other settings, rows without pooling, a table without a file that
    /// can be used, and files whose rows are not together.
    pub fn add(&mut self, table: &Path, about: impl FnMut(&str) -> NewTrack) -> Result<Added> {
        self.add_table(table, about, |table, rows| fs::copy(table, rows).map(drop), false)
    }

    /// The files of a table, in order, each with whether the catalogue has its rows already. `name` gives the escaped path by
    /// which the catalogue knows a file, from the one in the table.
    ///
    /// # Errors
    /// [`SearchError::Table`] for a table that cannot be read.
    pub fn files_of(&self, table: &Path, name: impl Fn(&str) -> String) -> Result<Vec<(String, bool)>> {
        let mut files = Vec::new();
        for_each_track(table, |rows| {
            let is_known = self.catalogue().is_some_and(|catalogue| has_rows(catalogue, &name(&rows.file), rows));
            files.push((rows.file.clone(), is_known));
            Ok(())
        })?;
        Ok(files)
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
        about: impl FnMut(&str) -> NewTrack,
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
        let mut lost_loudness = 0;
        let catalogue = self.catalogue();
        let known = catalogue.filter(|_| !replaces_all);
        let has = |name: &str, rows: &TrackRows| known.is_some_and(|catalogue| has_rows(catalogue, name, rows));
        let mut found =
            ingest(&rows, &groups, &mut vectors, about, has).map_err(|error| name_table(error, &rows, table))?;
        if let Some(catalogue) = known {
            for track in &mut found.tracks {
                let Some(at) = catalogue.find_file(&track.file) else { continue };
                lost_loudness += usize::from(!keep_facts(catalogue, at, track));
            }
        }
        let is_partial = found.is_partial();
        let (unchanged, refused) = (found.unchanged.len(), std::mem::take(&mut found.refused));
        if found.tracks.is_empty() {
            drop(folder);
            self.learn(found.unchanged)?;
            return Ok(Added { unchanged, refused, ..Added::default() });
        }
        if is_partial {
            let mut kept = KeptRows { tables: vec![(rows.clone(), found.kept)] };
            mert_table::write(&rows, &settings, &mut kept)
                .map_err(|source| SearchError::Table { path: rows.clone(), source })?;
        }
        // Windows syncs only what is open for writing.
        let opened = fs::OpenOptions::new().write(true).open(&rows);
        opened.and_then(|file| file.sync_all()).map_err(SearchError::io(&rows))?;
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
        self.learn(found.unchanged)?;
        Ok(Added { tracks, segments, replaced: replaced.count_ones(..), unchanged, lost_loudness, refused })
    }

    /// Records what is known of tracks whose rows stay, given by their files.
    fn learn(&mut self, known: Vec<(String, Option<FileVersion>, NewTrack)>) -> Result<()> {
        let Some(catalogue) = self.catalogue() else { return Ok(()) };
        let mut tracks = FixedBitSet::with_capacity(catalogue.tracks());
        let mut news = HashMap::new();
        for (file, version, new) in known {
            // Where the file could not be read nothing is known of it.
            if let Some(track) = catalogue.find_file(&file).filter(|_| new.sha256.is_some()) {
                tracks.insert(track);
                news.insert(track, (version, new));
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        self.edit(&tracks, |number, track| {
            let Some((version, new)) = news.remove(&number) else { return };
            let loudness = track.metadata.get(LOUDNESS).cloned();
            track.version = version.or(track.version);
            track.sha256 = new.sha256;
            track.duration = new.duration.unwrap_or(0.0).max(track.duration);
            track.metadata = new.metadata;
            if let Some(loudness) = loudness {
                track.metadata.entry(LOUDNESS.into()).or_insert(loudness);
            }
        })
    }
}

/// Whether the track of the file `name` has the rows `rows`, to the last bit.
fn has_rows(catalogue: &Catalogue, name: &str, rows: &TrackRows) -> bool {
    let Some(track) = catalogue.find_file(name).map(|at| catalogue.track(at)) else { return false };
    if track.segments.len() != rows.windows.len() {
        return false;
    }
    let width = rows.values.len() / rows.windows.len();
    let is_same = |(index, segment): (usize, usize)| {
        let found = catalogue.segment(segment);
        let mut values = rows.values[index * width..][..width].iter();
        let mut is_same = |row: &[f32]| row.iter().all(|a| values.next().is_some_and(|b| a.to_bits() == b.to_bits()));
        (found.start, found.end) == rows.times[index]
            && (0..catalogue.groups().len())
                .all(|group| is_same(catalogue.vectors(Level::Segments, group).row(segment)))
    };
    track.segments.enumerate().all(is_same)
}

/// Keeps what the catalogue knows of the track `at`, whose rows `track` replaces: what was joined, and if its file cannot be
/// read or has not changed, its digest, tags and loudness. Returns whether all that was measured is still known.
fn keep_facts(catalogue: &Catalogue, at: usize, track: &mut TrackRecord) -> bool {
    let [tags, joined] = catalogue.values(at);
    if track.joined.is_empty() {
        track.joined = joined;
    }
    let (sha256, is_read) = (catalogue.sha256(at), track.sha256.is_some());
    let is_same_file = match &track.sha256 {
        Some(found) => sha256.as_ref() == Some(found),
        None => true,
    };
    let has_loudness = tags.contains_key(LOUDNESS);
    if track.sha256.is_none() && track.version == catalogue.version(at) {
        track.sha256 = sha256;
        track.duration = track.duration.max(catalogue.track(at).duration);
    }
    if is_same_file {
        for (name, value) in tags {
            // A tag that a file which was read no longer has is gone.
            if !is_read || name == LOUDNESS {
                track.metadata.entry(name).or_insert(value);
            }
        }
    }
    !has_loudness || track.metadata.contains_key(LOUDNESS)
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
