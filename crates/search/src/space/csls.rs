//! Cross-domain similarity local scaling: scores that are corrected for hubs, rows that are near to everything.
//!
//! The corrected score of `a` and `b` is `2 s(a, b) − r(a) − r(b)`, with the uncorrected score `s` and the mean `r` of the
//! scores of the 10 nearest neighbours: Lample et al., <https://arxiv.org/abs/1710.04087>, section 2.3. Neighbours are looked
//! for among at most 4096 live tracks, a sample with a fixed seed; one whose score is within 10⁻⁹ of 1 is the point itself or
//! a copy of it, and does not count. So `r` of a point depends on the point and the catalogue alone.
//!
//! `r` of all rows is kept in `cache/csls.LEVEL.GENERATION.GEOMETRY.safetensors`: two f32 for each, the sum of which it is.

use std::sync::Arc;

use rayon::prelude::*;

use super::cache::{cached, remove_others};
use super::{Query, Space};
use crate::scan::candidates_of;
use crate::vectors::{Derived, Level, sample};

/// The number of neighbours.
const NEIGHBORS: usize = 10;

/// The most tracks among which neighbours are looked for.
const REFERENCES: usize = 4096;

/// The score from which a neighbour is the point itself, or a copy.
const SAME: f64 = 1.0 - 1e-9;

impl Space<'_> {
    /// The mean score of the nearest neighbours of a point, which CSLS subtracts.
    pub fn density(&self, point: &Query) -> f64 {
        let references = self.references();
        let scores = references.par_iter().map(|&track| self.score(point, &self.point(Level::Tracks, track)));
        mean_of_nearest(scores.collect())
    }

    /// [`Space::density`] of every row of a level.
    pub fn densities(&self, level: Level) -> Vec<f64> {
        let stored = self.stored_densities(level);
        stored[0].pairs().iter().map(|&[high, low]| f64::from(high) + f64::from(low)).collect()
    }

    /// The tracks among which neighbours are looked for.
    fn references(&self) -> Vec<usize> {
        sample(&self.catalogue.live().ones().collect::<Vec<_>>(), REFERENCES)
    }

    fn stored_densities(&self, level: Level) -> Derived {
        let generation = self.catalogue.manifest().generation;
        let key = self.geometry_key();
        let name = format!("csls.{}.{generation}.{}", level.name(), key.as_deref().unwrap_or_default());
        let load = || {
            let path = key.as_ref().map(|_| self.cache_path(&format!("{name}.safetensors")));
            let stored = cached(path.as_deref(), self.catalogue.rows(level), 2, || self.compute_densities(level));
            if let Some(path) = path {
                for others in ["csls.tracks.", "csls.segments."] {
                    // Other geometries of this state stay.
                    let current = format!("{others}{generation}.");
                    remove_others(&path, others, &current);
                }
            }
            vec![stored]
        };
        match key {
            Some(_) => self.catalogue.derived().get(&name, load),
            None => Arc::new(load()),
        }
    }

    fn compute_densities(&self, level: Level) -> Vec<f32> {
        let references: Vec<Query> =
            self.references().into_iter().map(|track| self.point(Level::Tracks, track)).collect();
        let density = |row: usize, scores: &[f64], error: f64| {
            let nearest = candidates_of(scores, error, NEIGHBORS, SAME);
            let point = self.point(level, row);
            let density =
                mean_of_nearest(nearest.into_iter().map(|index| self.score(&point, &references[index])).collect());
            let high = density as f32;
            [high, (density - f64::from(high)) as f32]
        };
        self.approximate(level, &references, |scan| scan.map_rows(density)).concat()
    }
}

/// The mean of the largest scores below those of copies; 0 if there are none.
fn mean_of_nearest(mut scores: Vec<f64>) -> f64 {
    scores.retain(|&score| score < SAME);
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    scores.truncate(NEIGHBORS);
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Geometry;
    use crate::{Catalogue, testing};

    #[test]
    fn corrected_scores_are_those_of_the_definition() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 60);
        let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
        let corrected = Space::new(&catalogue, Geometry { csls: true, ..Geometry::of(&catalogue) }).unwrap();
        let density = |level, row| {
            let scores = catalogue
                .live()
                .ones()
                .map(|track| space.score(&space.point(level, row), &space.point(Level::Tracks, track)));
            let mut scores: Vec<f64> = scores.filter(|score| *score < 1.0 - 1e-9).collect();
            scores.sort_by(f64::total_cmp);
            scores.iter().rev().take(10).sum::<f64>() / 10.0
        };
        for level in [Level::Tracks, Level::Segments] {
            let mut rows = fixedbitset::FixedBitSet::with_capacity(catalogue.rows(level));
            rows.insert_range(..);
            for hits in corrected.scan(level, &[corrected.point(level, 4), corrected.point(level, 9)], &rows, 12) {
                let query = hits[0].row;
                let expected = |row| {
                    2.0 * space.score(&space.point(level, query), &space.point(level, row))
                        - density(level, query)
                        - density(level, row)
                };
                let mut all: Vec<(f64, usize)> = rows.ones().map(|row| (expected(row), row)).collect();
                all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                for (hit, (score, row)) in hits.iter().zip(all) {
                    assert_eq!(hit.row, row);
                    assert!((hit.score - score).abs() < 1e-12, "{hit:?} {score}");
                }
            }
        }
        // From the file, in a catalogue that is opened again.
        let again = Catalogue::open(catalogue.folder()).unwrap();
        let space = Space::new(&again, Geometry { csls: true, ..Geometry::of(&again) }).unwrap();
        assert_eq!(space.densities(Level::Tracks), corrected.densities(Level::Tracks));
        assert!((space.densities(Level::Tracks)[5] - space.density(&space.point(Level::Tracks, 5))).abs() < 1e-13);
    }
}
