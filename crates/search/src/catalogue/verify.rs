//! The check of a catalogue: digests of what is the truth, caches against the truth value by value, statistics, and the
//! files on the disk.

mod statistics;

use std::path::Path;

use mert_fs::sha256_file;

use self::statistics::Checked;
use super::derived::derived_files;
use super::index::{Record, mean};
use super::manifest::{FileDigest, Manifest, PartEntry};
use super::part::{ROWS, folder_of, index_of, rebuild};
use super::writer::leftovers;
use super::{Catalogue, Group, Writer, rows, tracks};
use crate::{Result, SearchError, count, is_or_are};

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// What is wrong.
    pub faults: Vec<String>,
    /// Caches that were written again.
    pub repaired: Vec<String>,
    /// What is no fault and should be known: files on the disk that are missing or have changed.
    pub notes: Vec<String>,
    /// The number of files whose digests were compared.
    pub files: usize,
    /// The number of files of caches that were compared with what they are made of.
    pub caches: usize,
    /// The number of files that searches derive from the vectors whose checksums were compared.
    pub derived: usize,
    /// The number of tracks whose records and means were compared.
    pub tracks: usize,
    /// The number of segments whose vectors and times were compared.
    pub segments: usize,
    /// The number of segments that the statistics were computed from again; `None` if that could not be done.
    pub statistics: Option<usize>,
}

/// The parts of a cache that were compared.
#[derive(Default)]
struct Compared {
    tracks: usize,
    segments: usize,
    files: usize,
    /// The first difference.
    fault: Option<String>,
}

impl Compared {
    fn fault(fault: String) -> Self {
        Compared { fault: Some(fault), ..Compared::default() }
    }
}

/// Checks the catalogue in `folder`. With `repair`, caches that are damaged are written again and then compared, and files
/// that no state names are removed. `on_part` is told of each part that is done.
///
/// # Errors
/// [`SearchError::NoCatalogue`] or [`SearchError::Damaged`] for a manifest that cannot be read.
pub fn verify(folder: &Path, repair: bool, mut on_part: impl FnMut(usize, usize)) -> Result<Verification> {
    let manifest = Manifest::read(folder)?;
    let groups = Group::of(&manifest.settings);
    let mut found = Verification::default();
    for (index, entry) in manifest.parts.iter().enumerate() {
        let part = folder_of(folder, entry);
        let before = found.faults.len();
        for (name, digest) in &entry.files {
            found.check_file(&part.join(name), digest);
        }
        // Without the truth there is nothing to compare a cache with.
        if found.faults.len() == before {
            found.check_cache(&part, entry, &groups, repair);
        }
        on_part(index + 1, manifest.parts.len());
    }
    found.check_derived(folder, &manifest, repair);
    found.check_leftovers(folder, &manifest, repair);
    found.check_file(&folder.join(&manifest.statistics.path), &manifest.statistics.digest);
    if found.faults.is_empty() {
        match Catalogue::open(folder) {
            Ok(catalogue) => {
                found.check_statistics(&catalogue);
                found.look_at_files(&catalogue);
            }
            Err(error) => found.faults.push(error.to_string()),
        }
    }
    Ok(found)
}

impl Verification {
    fn check_file(&mut self, path: &Path, expected: &FileDigest) {
        self.files += 1;
        let name = mert_table::printable_path(path);
        match std::fs::metadata(path).and_then(|found| Ok((found.len(), sha256_file(path)?))) {
            Err(error) => self.faults.push(format!("{name}: {error}")),
            Ok((size, _)) if size != expected.size => {
                self.faults.push(format!("{name}: expected {} bytes, found {size}", expected.size));
            }
            Ok((_, sha256)) if sha256 != expected.sha256 => {
                self.faults.push(format!("{name}: expected the SHA-256 {}, found {sha256}", expected.sha256));
            }
            Ok(_) => {}
        }
    }

    /// Compares the checksums of the files that searches derive from the vectors. With `repair`, those that are damaged are
    /// removed.
    fn check_derived(&mut self, folder: &Path, manifest: &Manifest, repair: bool) {
        for (path, is_intact) in derived_files(folder, manifest) {
            let name = mert_table::printable_path(&path);
            if is_intact {
                self.derived += 1;
            } else if !repair {
                self.faults.push(format!(
                    "{name}: its checksum is another. `mert-search verify --repair` removes it, to be computed again"
                ));
            } else {
                match std::fs::remove_file(&path) {
                    Ok(()) => {
                        self.repaired.push(format!("{name} is removed, to be computed again when it is needed"));
                    }
                    Err(error) => self.faults.push(format!("{name}: it cannot be removed: {error}")),
                }
            }
        }
    }

    /// Compares the cache of a part, and with `repair` writes it again if it is damaged.
    fn check_cache(&mut self, part: &Path, entry: &PartEntry, groups: &[Group], repair: bool) {
        let mut compared = compare(part, entry, groups);
        if let (true, Ok(Compared { fault: Some(fault), .. })) = (repair, &compared) {
            let index = index_of(part, entry, groups);
            if let Err(error) = rebuild(&index, entry, true, fault, &mut self.repaired) {
                self.faults.push(error.to_string());
                return;
            }
            compared = compare(part, entry, groups);
        }
        match compared {
            Ok(Compared { tracks, segments, files, fault: None }) => {
                self.tracks += tracks;
                self.segments += segments;
                self.caches += files;
            }
            Ok(Compared { fault: Some(fault), .. }) => self.faults.push(format!(
                "{}: its cache is damaged: {fault}. `mert-search verify --repair` writes it again",
                mert_table::printable_path(part)
            )),
            Err(error) => self.faults.push(error.to_string()),
        }
    }

    /// Notes files that the catalogue does not name. With `repair` they are removed, unless another process is changing the
    /// catalogue, whose files they may be.
    fn check_leftovers(&mut self, folder: &Path, manifest: &Manifest, repair: bool) {
        if !repair {
            let leftovers = leftovers::Leftovers::find(folder, Some(manifest));
            if !leftovers.is_empty() {
                self.notes.push(format!(
                    "{leftovers} that the catalogue does not name, of earlier states or interrupted changes: the next change, or \
                     --repair, removes them"
                ));
            }
            return;
        }
        match Writer::open_existing(folder) {
            Ok(writer) if writer.freed().is_empty() => {}
            Ok(writer) => self.repaired.push(format!("{} that the catalogue does not name: removed", writer.freed())),
            Err(error) => {
                self.notes.push(format!("files that the catalogue does not name are not looked for: {error}"))
            }
        }
    }

    /// Computes the statistics again.
    fn check_statistics(&mut self, catalogue: &Catalogue) {
        let path = &catalogue.manifest().statistics.path;
        match statistics::check(catalogue) {
            Checked::Same(segments) => self.statistics = Some(segments),
            Checked::Other(difference) => self.faults.push(format!("{path}: {difference}")),
            Checked::Skipped(reason) => {
                self.notes.push(format!(
                    "{path}: only its digest is compared: its values cannot be computed again: {reason}"
                ));
            }
        }
    }

    /// Counts files that are missing or have changed on the disk.
    fn look_at_files(&mut self, catalogue: &Catalogue) {
        let (mut missing, mut changed) = (Vec::new(), Vec::new());
        for track in catalogue.live().ones() {
            let path = catalogue.track(track).path();
            match std::fs::metadata(&path) {
                Err(_) => missing.push(path),
                Ok(found) if catalogue.version(track).is_some_and(|version| version.size != found.len()) => {
                    changed.push(path);
                }
                Ok(_) => {}
            }
        }
        for (what, files) in [("missing", missing), ("of another size than when they were embedded", changed)] {
            if let Some(first) = files.first() {
                let first = mert_table::printable_path(first);
                let count = count(files.len(), "file");
                self.notes.push(format!("{count} {} {what}; the first is {first}", is_or_are(files.len())));
            }
        }
    }
}

/// Compares the cache of a part with its tables.
fn compare(part: &Path, entry: &PartEntry, groups: &[Group]) -> Result<Compared> {
    let index = index_of(part, entry, groups);
    let record = Record::read(&index.folder());
    if let Some(fault) = index.vectors_fault(&record).or_else(|| index.table_fault(&record)) {
        return Ok(Compared::fault(fault));
    }
    if let Some(name) = index.damaged_files(&record)?.first() {
        return Ok(Compared::fault(format!("index/{name} has changed since it was written")));
    }
    let table = part.join(entry.tracks_table());
    let records = tracks::read(&table)?;
    if !index.has_table(&records)? {
        return Ok(Compared::fault("the cached table of tracks is another than the table".into()));
    }
    let opened = index.open_matrices(entry.tracks, entry.segments).and_then(|matrices| {
        index.open_table(entry.tracks, entry.segments)?;
        Ok((matrices, index.open_times(entry.segments)?))
    });
    let (matrices, times) = match opened {
        Ok(opened) => opened,
        Err(SearchError::Damaged { reason, .. }) => return Ok(Compared::fault(reason)),
        Err(error) => return Err(error),
    };
    let (mut track, mut segment, mut fault) = (0, 0, None);
    let mut expected = Vec::new();
    let width: usize = groups.iter().map(|group| group.dim).sum();
    let path = part.join(ROWS);
    rows::for_each_track(&path, |rows| {
        let end = segment + rows.windows.len();
        if records.get(track).is_none_or(|record| record.segments as usize != rows.windows.len()) {
            return Err(SearchError::damaged(&path, format!("track {track} has {}", count(rows.windows.len(), "row"))));
        }
        let mut offset = 0;
        for (group, [means, segments]) in groups.iter().zip(&matrices) {
            let row = |row: usize| &rows.values[row * width + offset..][..group.dim];
            let is_same = |a: &[f32], b: &[f32]| a.iter().map(|a| a.to_bits()).eq(b.iter().map(|b| b.to_bits()));
            if let Some(other) = (segment..end).find(|&at| !is_same(segments.row(at), row(at - segment))) {
                fault.get_or_insert(format!("{} of segment {other} is another than the table's", group.column));
            }
            mean((0..rows.windows.len()).map(row), group.dim, &mut expected);
            if !is_same(means.row(track), &expected) {
                fault.get_or_insert(format!("{} of track {track} is not the mean of its segments", group.column));
            }
            offset += group.dim;
        }
        if let Some(other) = (segment..end).find(|&at| times.of(at) != rows.times[at - segment]) {
            fault.get_or_insert(format!("the time of segment {other} is another than the table's"));
        }
        (track, segment) = (track + 1, end);
        Ok(())
    })?;
    // The matrices of tracks and segments of each group, the times, and the table of tracks.
    Ok(Compared { tracks: track, segments: segment, files: 2 * groups.len() + 2, fault })
}
