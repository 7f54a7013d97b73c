//! Writing the statistics of a catalogue again, where their file is lost or damaged.

use std::path::Path;

use super::{Freed, Writer, lock};
use crate::catalogue::manifest::{FileDigest, FileEntry, Manifest};
use crate::catalogue::statistics::RecordedParts;
use crate::catalogue::{Catalogue, Statistics};
use crate::{Result, count};

impl Writer {
    /// Computes the statistics of the catalogue in `folder` again, and returns what was done, for the user.
    ///
    /// They are those of the segments that the damaged file records. Where it is lost or cannot be read, they are those of
    /// the parts that there were when it was written, if that gives the same bytes, or else those of all segments.
    ///
    /// # Errors
    /// Those of [`Writer::open`] and of writing.
    pub(in crate::catalogue) fn repair_statistics(folder: &Path) -> Result<String> {
        // Releases the lock at the end.
        let (folder, lock) = (folder.to_path_buf(), lock(folder)?);
        let writer = Writer { folder, catalogue: None, models: None, freed: Freed::default(), lock };
        let folder = writer.folder();
        let manifest = Manifest::read(folder)?;
        let catalogue = Catalogue::with_manifest(folder, manifest.clone(), Some(Statistics::default()))?;
        let lost = folder.join(&manifest.statistics.path);
        let compute = |parts: RecordedParts| -> Option<Statistics> {
            let tracks = Statistics::tracks_of(&catalogue, &parts).ok()?;
            Some(Statistics::of_tracks(&catalogue, &tracks, parts))
        };
        let is_same = |statistics: &Statistics| -> Result<bool> {
            Ok(mert_fs::sha256_bytes(&statistics.to_bytes(&lost)?) == manifest.statistics.digest.sha256)
        };
        let mut statistics = Statistics::recorded_parts(&lost).and_then(compute);
        if statistics.is_none()
            && let Some(earlier) = earlier_parts(&catalogue).and_then(compute)
            && is_same(&earlier)?
        {
            statistics = Some(earlier);
        }
        let statistics = statistics.unwrap_or_else(|| Statistics::of(&catalogue));
        let name = mert_table::printable_path(folder);
        if is_same(&statistics)? && !lost.is_dir() {
            statistics.write(&lost)?;
            return Ok(format!("{name}: {} is written again, with the same bytes", manifest.statistics.path));
        }
        let mut next = manifest.next();
        let path = format!("statistics-{:06}.safetensors", next.generation);
        statistics.write(&folder.join(&path))?;
        next.statistics = FileEntry { digest: FileDigest::of(&folder.join(&path))?, path };
        next.write(folder)?;
        Ok(format!(
            "{name}: {} is written in place of {}, of {}: scores may be a little other than before",
            next.statistics.path,
            manifest.statistics.path,
            count(statistics.segments, "segment")
        ))
    }
}

/// The parts of `catalogue` that there were when its statistics were written, if later ones were added since.
fn earlier_parts(catalogue: &Catalogue) -> Option<RecordedParts> {
    let manifest = catalogue.manifest();
    let number = manifest.statistics.path.strip_prefix("statistics-")?.strip_suffix(".safetensors")?;
    let number: u64 = number.parse().ok()?;
    let is_earlier = |(name, _): &(String, Vec<usize>)| name.parse().is_ok_and(|part: u64| part <= number);
    let (earlier, later): (RecordedParts, RecordedParts) =
        Statistics::parts_of(catalogue).into_iter().partition(is_earlier);
    (!later.is_empty() && !earlier.is_empty()).then_some(earlier)
}
