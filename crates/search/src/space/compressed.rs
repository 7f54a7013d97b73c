//! The compressed first stage of a search: vectors at 4 bits a value (`turbovec`) find more candidates than are wanted, which
//! are ranked by their scores in f64. It is faster than the exact scan where that does not fit memory, and misses a few
//! rows: how few is measured when the cache is made, and comes with each result.
//!
//! `cache/compressed.LEVEL.tv` is turbovec's file, which has no checksum: `compressed.LEVEL.json` has its digest, the
//! geometry that it was made in, and the parts that it covers. Rows of later parts are scanned exactly.

use std::fs;
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use rayon::prelude::*;
use turbovec::TurboQuantIndex;

use super::{Query, Scored, Space};
use crate::vectors::{About, Compressed, Level, sample};
use crate::{Result, SearchError};

/// The number of vectors above which searches have a compressed first stage, unless the user chooses another.
pub const COMPRESSED_ABOVE: usize = 2_000_000;

/// The bits of a value.
const BITS: usize = 4;

/// The numbers of candidates for 10 hits, of which the first that reaches [`RECALL`] is used. More cost little: 3,200 rows are
/// 10 MB.
const CANDIDATES: [usize; 6] = [100, 200, 400, 800, 1600, 3200];

/// The share of the nearest neighbours that is to be found.
const RECALL: f64 = 0.99;

/// The queries by which the number of candidates is chosen, and as many others of which recall is measured; the hits of each.
const RECALL_QUERIES: usize = 50;
const RECALL_HITS: usize = 10;

/// The rows that are compressed at once.
const BATCH: usize = 1 << 15;

/// The hits of a search, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// For each query its hits, best first.
    pub hits: Vec<Vec<Scored>>,
    /// The share of the 10 nearest neighbours that the compressed first stage finds, measured on a sample of rows; `None`
    /// after an exact scan, which finds all.
    pub recall: Option<f64>,
    /// Why the scan was exact although the catalogue is large, if it was.
    pub note: Option<String>,
}

impl Space<'_> {
    /// [`Space::scan`], with a compressed first stage if the level has more than `above` vectors (0: never). Its cache is
    /// made if there is none for the default geometry, which takes a while.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the vectors cannot be compressed.
    pub fn scan_above(
        &self,
        level: Level,
        queries: &[Query],
        rows: &FixedBitSet,
        top: usize,
        above: usize,
    ) -> Result<Scanned> {
        let exact = |note: Option<&str>| {
            let (hits, damaged) = self.scan_counted(level, queries, rows, top);
            let note = note.map(|note| format!("exact scan of {} vectors: {note}", self.catalogue.rows(level)));
            Scanned { hits, recall: None, note: with_damage(note, damaged) }
        };
        if above == 0 || self.catalogue.rows(level) <= above {
            return Ok(exact(None));
        }
        if self.geometry.csls || self.geometry.metric.is_some() {
            return Ok(exact(Some("compressed vectors are for scores without --csls and --metric")));
        }
        let compressed = match self.open_compressed(level) {
            Some(compressed) if Some(&compressed.about.geometry) == self.geometry_key().as_ref() => compressed,
            Some(_) => return Ok(exact(Some("the compressed vectors were made in another geometry"))),
            None if self.geometry == super::Geometry::of(self.catalogue) => self.compress(level, |_, _| ())?,
            None => return Ok(exact(Some("vectors are compressed in the default geometry"))),
        };
        let count = compressed.about.candidates.saturating_mul(top.div_ceil(RECALL_HITS));
        let candidates = self.compressed_candidates(&compressed, level, queries, rows, top, count)?;
        let (hits, damaged) = self.rank(level, queries, &candidates, top);
        Ok(Scanned { hits, recall: Some(compressed.about.recall_at_10), note: with_damage(None, damaged) })
    }

    /// Makes the cache of compressed vectors in this geometry and measures its recall. `progress` is told the number of rows
    /// that are done, and of all.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the vectors cannot be compressed.
    pub fn build_compressed(&self, level: Level, progress: impl FnMut(usize, usize)) -> Result<f64> {
        Ok(self.compress(level, progress)?.about.recall_at_10)
    }

    fn compress(&self, level: Level, mut progress: impl FnMut(usize, usize)) -> Result<Arc<Compressed>> {
        let failed = |reason: String| SearchError::Query(format!("vectors cannot be compressed: {reason}"));
        let dim = self.geometry.weights.iter().map(|&(group, _)| self.catalogue.groups()[group].dim).sum();
        let mut index = TurboQuantIndex::new(dim, BITS).map_err(|error| failed(error.to_string()))?;
        let rows = self.catalogue.rows(level);
        for start in (0..rows).step_by(BATCH) {
            let end = rows.min(start + BATCH);
            let placed: Vec<Vec<f32>> = (start..end)
                .into_par_iter()
                .map(|row| self.placed(level, row).into_iter().map(|value| value as f32).collect())
                .collect();
            index.add_2d(&placed.concat(), dim).map_err(|error| failed(error.to_string()))?;
            progress(end, rows);
        }
        index.prepare();
        let about = About::new(self.geometry_key().unwrap_or_default(), self.part_digests(), rows);
        let mut compressed = Compressed { index, about };
        self.measure_recall(&mut compressed, level)?;
        let path = self.compressed_path(level);
        // A catalogue that cannot be written is searched all the same.
        if compressed.write(&path).is_err() {
            let _ = fs::remove_file(path.with_extension("json"));
        }
        let compressed = Arc::new(compressed);
        self.catalogue.derived().set_compressed(level, Arc::clone(&compressed));
        Ok(compressed)
    }

    /// The cache of compressed vectors, if there is one whose rows are the first of the catalogue.
    fn open_compressed(&self, level: Level) -> Option<Arc<Compressed>> {
        if let Some(known) = self.catalogue.derived().compressed(level) {
            return Some(known);
        }
        let path = self.compressed_path(level);
        let about = About::read(&path)?;
        let is_prefix = self.part_digests().starts_with(&about.parts);
        // Many later rows are better compressed as well.
        let is_recent = self.catalogue.rows(level).saturating_mul(10) <= about.rows.saturating_mul(11);
        if !is_prefix || !is_recent {
            return None;
        }
        let compressed = Arc::new(Compressed::open(&path, about)?);
        self.catalogue.derived().set_compressed(level, Arc::clone(&compressed));
        Some(compressed)
    }

    /// For each query `count` rows that are likely to be among the best, likelier ones first, and the `top` best of the rows
    /// that are not compressed.
    fn compressed_candidates(
        &self,
        compressed: &Compressed,
        level: Level,
        queries: &[Query],
        rows: &FixedBitSet,
        top: usize,
        count: usize,
    ) -> Result<Vec<Vec<usize>>> {
        let covered = compressed.about.rows;
        let mut later = rows.clone();
        later.remove_range(..covered.min(rows.len()));
        let later = self.scan(level, queries, &later, top);
        let mask: Vec<bool> = (0..covered).map(|row| rows.contains(row)).collect();
        let mut candidates = Vec::with_capacity(queries.len());
        let vector = |query: &Query| -> Vec<f32> {
            let groups = self.geometry.weights.iter().zip(&query.groups);
            groups
                .flat_map(|(&(_, weight), group)| group.iter().map(move |value| (weight.sqrt() * value) as f32))
                .collect()
        };
        let vectors: Vec<f32> = queries.iter().flat_map(vector).collect();
        let found = compressed.index.try_search_with_mask(&vectors, count.min(covered), Some(&mask));
        let found = found.map_err(|error| SearchError::Query(format!("compressed search: {error}")))?;
        for (query, later) in later.iter().enumerate() {
            let first = found.indices_for_query(query).iter().filter_map(|&row| usize::try_from(row).ok());
            candidates.push(first.chain(later.iter().map(|hit| hit.row)).collect());
        }
        Ok(candidates)
    }

    /// Chooses the number of candidates by the nearest neighbours of a sample of rows, which do not count themselves, and
    /// measures the share of those of another sample that is found with it.
    fn measure_recall(&self, compressed: &mut Compressed, level: Level) -> Result<()> {
        let mut live = FixedBitSet::with_capacity(self.catalogue.rows(level));
        match level {
            Level::Tracks => live = self.catalogue.live().clone(),
            Level::Segments => {
                let live_tracks = self.catalogue.live().ones();
                live_tracks.for_each(|track| live.insert_range(self.catalogue.track(track).segments));
            }
        }
        let sampled = sample(&live.ones().collect::<Vec<_>>(), 2 * RECALL_QUERIES);
        let queries: Vec<Query> = sampled.iter().map(|&row| self.point(level, row)).collect();
        let exact = self.scan(level, &queries, &live, RECALL_HITS + 1);
        // Every other query, since a sample is in the order of rows.
        let half = |first: usize| -> (Vec<Query>, Vec<Vec<usize>>) {
            let chosen = (first..sampled.len()).step_by(2);
            let neighbors = |index: usize| -> Vec<usize> {
                let others = exact[index].iter().map(|hit| hit.row).filter(|row| *row != sampled[index]);
                others.take(RECALL_HITS).collect()
            };
            chosen.map(|index| (queries[index].clone(), neighbors(index))).unzip()
        };
        // Each number is tried by a search of its own: the first of many candidates are not those of a search for few.
        let recall = |(queries, neighbors): &(Vec<Query>, Vec<Vec<usize>>), count: usize| -> Result<f64> {
            let found = self.compressed_candidates(compressed, level, queries, &live, RECALL_HITS, count)?;
            let all = neighbors.iter().map(Vec::len).sum::<usize>();
            let pairs = neighbors.iter().zip(&found);
            let hits: usize = pairs.map(|(rows, found)| rows.iter().filter(|row| found.contains(row)).count()).sum();
            Ok(if all == 0 { 1.0 } else { hits as f64 / all as f64 })
        };
        let (tried, measured) = (half(0), half(1));
        let mut chosen = CANDIDATES[0];
        for count in CANDIDATES {
            chosen = count;
            if recall(&tried, count)? >= RECALL {
                break;
            }
        }
        let recall_at_10 = recall(&measured, chosen)?;
        (compressed.about.candidates, compressed.about.recall_at_10) = (chosen, recall_at_10);
        Ok(())
    }

    fn compressed_path(&self, level: Level) -> std::path::PathBuf {
        self.cache_path(&format!("compressed.{}.tv", level.name()))
    }

    fn part_digests(&self) -> Vec<(String, String)> {
        let digest = |entry: &crate::catalogue::PartEntry| {
            let files: Vec<&str> = entry.files.values().map(|file| file.sha256.as_str()).collect();
            (entry.name.clone(), mert_fs::sha256_bytes(files.concat().as_bytes()))
        };
        self.catalogue.manifest().parts.iter().map(digest).collect()
    }
}

/// A note, and what is known of rows that were left out.
fn with_damage(note: Option<String>, damaged: usize) -> Option<String> {
    if damaged == 0 {
        return note;
    }
    let rows = crate::count(damaged, "row");
    let damage =
        format!("{rows} left out, with scores that are no numbers: a file is damaged, see `mert-search verify`");
    Some(note.map_or(damage.clone(), |note| format!("{note}; {damage}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Geometry;
    use crate::{Catalogue, testing};

    #[test]
    fn hits_are_ranked_exactly_and_a_damaged_cache_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 400);
        let geometry = Geometry::of(&catalogue);
        let scan = |catalogue: &Catalogue, geometry: &Geometry, rows: &FixedBitSet, above| {
            let space = Space::new(catalogue, geometry.clone()).unwrap();
            space.scan_above(Level::Tracks, &[space.point(Level::Tracks, 3)], rows, 10, above).unwrap()
        };
        let few: FixedBitSet = (0..400).filter(|row| row % 5 == 2).collect();
        for rows in [catalogue.live(), &few] {
            let exact = scan(&catalogue, &geometry, rows, 0);
            assert_eq!((exact.recall, &exact.note), (None, &None));
            let compressed = scan(&catalogue, &geometry, rows, 100);
            assert!(compressed.recall.is_some_and(|recall| recall > 0.95), "{compressed:?}");
            assert_eq!(compressed.hits, exact.hits);
        }
        let file = catalogue.folder().join("cache/compressed.tracks.tv");
        let written = std::fs::read(&file).unwrap();
        let mut damaged = written.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let again = Catalogue::open(catalogue.folder()).unwrap();
        assert!(scan(&again, &geometry, again.live(), 100).recall.is_some());
        assert_eq!(std::fs::read(&file).unwrap(), written);
        let other = scan(&again, &Geometry { center: false, ..geometry }, again.live(), 100);
        assert!(other.recall.is_none() && other.note.is_some_and(|note| note.contains("another geometry")));
    }
}
