//! The check of a catalogue: digests of what is the truth, caches against the truth value by value, statistics, and the
//! files on the disk.

use std::path::Path;

use mert_fs::sha256_file;

use super::derived::{State, derived_files};
use super::index::{Record, mean};
use super::manifest::{FileDigest, Manifest, PartEntry};
use super::part::{ROWS, folder_of, index_of, rebuild};
use super::{Catalogue, Group, rows, tracks};
use crate::{Result, SearchError};

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// What is wrong.
    pub faults: Vec<String>,
    /// Caches that were written again.
    pub repaired: Vec<String>,
    /// What is no fault and should be known: files on the disk that are missing or have changed.
    pub notes: Vec<String>,
    /// The number of files that were checked.
    pub files: usize,
    /// The number of vectors of segments that were compared.
    pub vectors: usize,
}

/// The largest difference of a mean that was computed again, relative to its size: it is computed in f64 by the same
/// program, in an order that may differ.
const MEAN_TOLERANCE: f64 = 1e-9;

/// Checks the catalogue in `folder`. With `repair`, caches that are damaged are written again. `on_part` is told of each part
/// that is done.
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
            match compare(&part, entry, &groups) {
                Ok((vectors, None)) => found.vectors += vectors,
                Ok((_, Some(fault))) if repair => {
                    let index = index_of(&part, entry, &groups);
                    match rebuild(&index, entry, true, &fault, &mut found.repaired) {
                        Ok(()) => {}
                        Err(error) => found.faults.push(error.to_string()),
                    }
                }
                Ok((_, Some(fault))) => found.faults.push(format!(
                    "{}: its cache is damaged: {fault}. `mert-search verify --repair` writes it again",
                    mert_table::printable_path(&part)
                )),
                Err(error) => found.faults.push(error.to_string()),
            }
        }
        on_part(index + 1, manifest.parts.len());
    }
    found.check_derived(folder, &manifest, repair)?;
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

    /// Compares the checksums of the files that searches derive from the vectors. With `repair`, those that are damaged and
    /// those without a checksum are removed.
    fn check_derived(&mut self, folder: &Path, manifest: &Manifest, repair: bool) -> Result<()> {
        let mut unchecked = 0;
        for (path, state) in derived_files(folder, manifest) {
            let name = mert_table::printable_path(&path);
            match state {
                State::Intact => self.files += 1,
                _ if repair => {
                    std::fs::remove_file(&path).map_err(SearchError::io(&path))?;
                    self.repaired.push(format!("{name} is removed, to be computed again when it is needed"));
                }
                State::Damaged => self.faults.push(format!(
                    "{name}: its checksum is another. `mert-search verify --repair` removes it, to be computed again"
                )),
                State::Unchecked => unchecked += 1,
            }
        }
        if unchecked > 0 {
            self.notes.push(format!("{unchecked} kept maps have no checksum; --repair removes them"));
        }
        Ok(())
    }

    /// Computes the means of the statistics again, if they are of this state of the catalogue.
    fn check_statistics(&mut self, catalogue: &Catalogue) {
        let manifest = catalogue.manifest();
        if manifest.statistics.path != format!("statistics-{:06}.safetensors", manifest.generation) {
            self.notes.push(
                "the statistics are of an earlier state of the catalogue, as they should be after small changes: only \
                 their digest is compared"
                    .into(),
            );
            return;
        }
        let (stored, computed) = (catalogue.statistics(), catalogue.compute_statistics());
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= MEAN_TOLERANCE * a.abs().max(b.abs()).max(1.0);
        let means = || stored.means.iter().zip(&computed.means);
        let is_same = stored.segments == computed.segments
            && stored.means.len() == computed.means.len()
            && means().all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(is_near));
        if !is_same {
            self.faults.push(format!("{}: other means than those of the vectors", manifest.statistics.path));
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
                self.notes.push(format!("{} files are {what}; the first is {first}", files.len()));
            }
        }
    }
}

/// Compares the cache of a part with its tables. Returns the number of vectors, and the first difference.
fn compare(part: &Path, entry: &PartEntry, groups: &[Group]) -> Result<(usize, Option<String>)> {
    let index = index_of(part, entry, groups);
    let record = Record::read(&index.folder());
    if let Some(fault) = index.vectors_fault(&record).or_else(|| index.table_fault(&record)) {
        return Ok((0, Some(fault)));
    }
    if let Some(name) = index.damaged_files(&record)?.first() {
        return Ok((0, Some(format!("index/{name} has changed since it was written"))));
    }
    let table = part.join(entry.tracks_table());
    let records = tracks::read(&table)?;
    if !index.has_table(&records)? {
        return Ok((0, Some("the cached table of tracks is another than the table".into())));
    }
    let opened = index.open_matrices(entry.tracks, entry.segments).and_then(|matrices| {
        index.open_table(entry.tracks, entry.segments)?;
        Ok((matrices, index.open_times(entry.segments)?))
    });
    let (matrices, times) = match opened {
        Ok(opened) => opened,
        Err(SearchError::Damaged { reason, .. }) => return Ok((0, Some(reason))),
        Err(error) => return Err(error),
    };
    let (mut track, mut segment, mut fault) = (0, 0, None);
    let mut expected = Vec::new();
    let width: usize = groups.iter().map(|group| group.dim).sum();
    let path = part.join(ROWS);
    rows::for_each_track(&path, |rows| {
        let end = segment + rows.windows.len();
        if records.get(track).is_none_or(|record| record.segments as usize != rows.windows.len()) {
            return Err(SearchError::damaged(&path, format!("track {track} has {} rows", rows.windows.len())));
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
    Ok((segment, fault))
}
