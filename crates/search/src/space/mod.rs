//! A space: the vectors of a catalogue as a geometry compares them.
//!
//! The score of two tracks or segments is `Σ_g w_g · cos(P_g(a_g − μ_g), P_g(b_g − μ_g))` over the groups `g` of the
//! geometry, with its weights `w`, the catalogue's means `μ` (0 without centring) and the projection `P` that removes the
//! largest principal components. Scores that are returned are computed in f64 from the f32 vectors of the catalogue.

mod geometry;

use fixedbitset::FixedBitSet;

pub use self::geometry::Geometry;
use crate::catalogue::Catalogue;
use crate::vectors::Level;
use crate::{Result, SearchError};

/// The fewest tracks of a catalogue that is centred: the mean of a few tracks is mostly those tracks themselves.
pub const MIN_CENTERED: usize = 32;

/// A geometry in which the vectors of a catalogue are compared.
#[derive(Debug)]
pub struct Space<'c> {
    catalogue: &'c Catalogue,
    geometry: Geometry,
    /// The mean that is subtracted from each weighted group's vectors.
    means: Vec<Vec<f64>>,
}

/// A point of a space that rows are compared with: for each weighted group a vector of length 1 (or 0, of what has no
/// direction).
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    groups: Vec<Vec<f64>>,
}

/// A row and its score, at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The number of the track or segment.
    pub row: usize,
    /// The score.
    pub score: f64,
}

impl Query {
    /// The vectors, one for each weighted group in order, of length 1 or 0.
    pub fn vectors(&self) -> &[Vec<f64>] {
        &self.groups
    }

    /// The point of vectors that are scaled already.
    pub(crate) fn from_vectors(groups: Vec<Vec<f64>>) -> Self {
        Query { groups }
    }
}

impl<'c> Space<'c> {
    /// The space of `geometry` over `catalogue`.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the catalogue does not have a group or the components.
    pub fn new(catalogue: &'c Catalogue, geometry: Geometry) -> Result<Self> {
        let groups = catalogue.groups().len();
        if geometry.weights.is_empty()
            || geometry.weights.iter().any(|&(group, weight)| group >= groups || weight <= 0.0)
        {
            return Err(SearchError::Query("a geometry needs groups of the catalogue with weights above zero".into()));
        }
        let is_centered = geometry.center && catalogue.live().count_ones(..) >= MIN_CENTERED;
        let mean = |&(group, _): &(usize, f64)| match is_centered {
            true => catalogue.statistics().means[group].clone(),
            false => vec![0.0; catalogue.groups()[group].dim],
        };
        let means = geometry.weights.iter().map(mean).collect();
        Ok(Space { catalogue, geometry, means })
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &'c Catalogue {
        self.catalogue
    }

    /// The geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The point of a row.
    pub fn point(&self, level: Level, row: usize) -> Query {
        self.place(self.raw(level, row))
    }

    /// The vectors of a row, one for each weighted group in order.
    pub fn raw(&self, level: Level, row: usize) -> Vec<Vec<f64>> {
        let vector = |&(group, _): &(usize, f64)| {
            self.catalogue.vectors(level, group).row(row).iter().map(|&value| f64::from(value)).collect()
        };
        self.geometry.weights.iter().map(vector).collect()
    }

    /// The point of raw vectors, one for each weighted group in order.
    pub fn place(&self, vectors: Vec<Vec<f64>>) -> Query {
        Query { groups: self.center(vectors).into_iter().map(unit).collect() }
    }

    /// Raw vectors, one for each weighted group in order, less the mean and the removed components; [`Space::place`] scales
    /// them to length 1. The map is affine: the mean of several vectors is mapped to the mean of their images.
    pub fn center(&self, mut vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        for (vector, mean) in vectors.iter_mut().zip(&self.means) {
            vector.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
        }
        vectors
    }

    /// The direction of a weighted sum of points, for a query of several seeds; a weight may be negative.
    pub fn combine(&self, points: &[(Query, f64)]) -> Query {
        let group = |index: usize| {
            let mut sum = vec![0.0; self.means[index].len()];
            for (point, weight) in points {
                sum.iter_mut().zip(&point.groups[index]).for_each(|(sum, value)| *sum += weight * value);
            }
            unit(sum)
        };
        Query { groups: (0..self.means.len()).map(group).collect() }
    }

    /// The terms of the score of two points, `w_g · cos_g` for each weighted group in order; the score is their sum.
    pub fn terms(&self, a: &Query, b: &Query) -> Vec<f64> {
        let pairs = self.geometry.weights.iter().zip(a.groups.iter().zip(&b.groups));
        pairs.map(|((_, weight), (a, b))| weight * dot(a, b)).collect()
    }

    /// The score of two points.
    pub fn score(&self, a: &Query, b: &Query) -> f64 {
        self.terms(a, b).iter().sum()
    }

    /// For each query the `top` best of `rows`, best first, rows of equal score in ascending order.
    pub fn scan(&self, level: Level, queries: &[Query], rows: &FixedBitSet, top: usize) -> Vec<Vec<Scored>> {
        let scan = |query: &Query| {
            let score = |row| Scored { row, score: self.score(query, &self.point(level, row)) };
            let mut scored: Vec<Scored> = rows.ones().map(score).collect();
            scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            scored.truncate(top);
            scored
        };
        queries.iter().map(scan).collect()
    }
}

/// A vector scaled to length 1; one of length 0 stays as it is.
fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    let norm = dot(&vector, &vector).sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|value| *value /= norm);
    }
    vector
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_track_is_nearest_to_itself_and_then_to_its_artist() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 40);
        let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
        let queries = [space.point(Level::Tracks, 3), space.point(Level::Tracks, 11)];
        let hits = space.scan(Level::Tracks, &queries, catalogue.live(), 4);
        assert_eq!((hits[0][0].row, hits[1][0].row), (3, 11));
        assert!((hits[0][0].score - 1.0).abs() < 1e-12);
        assert!(hits[0].iter().all(|hit| hit.row % 5 == 3) && hits[1].iter().all(|hit| hit.row % 5 == 1), "{hits:?}");
    }
}
