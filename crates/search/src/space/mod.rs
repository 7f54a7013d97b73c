//! A space: the vectors of a catalogue as a geometry compares them.
//!
//! The score of two tracks or segments is `Σ_g w_g · cos(P_g(a_g − μ_g), P_g(b_g − μ_g))` over the groups `g` of the
//! geometry, with its weights `w`, the catalogue's means `μ` (0 without centring) and the projection `P` that removes the
//! largest principal components. With a learned metric it is the cosine of the mapped vectors: [`Metric`]. Scores that are
//! returned are computed in f64 from the f32 vectors of the catalogue.

mod cache;
mod compressed;
mod csls;
mod geometry;
mod half;
mod mapped;
mod metric;
mod norms;
mod placement;
mod search;

pub use self::compressed::{COMPRESSED_ABOVE, Scanned};
pub use self::geometry::Geometry;
pub use self::half::{build_half, remove_half};
pub use self::metric::{Affine, Metric, MetricGroup, MetricOrigin, Transform};
use self::placement::{Placement, dot, normalize};
use crate::catalogue::Catalogue;
use crate::vectors::{Level, REBUILD};
use crate::{Result, SearchError};

/// The fewest tracks of a catalogue that is centred: the mean of a few tracks is mostly those tracks themselves.
pub const MIN_CENTERED: usize = 32;

/// A geometry in which the vectors of a catalogue are compared.
#[derive(Debug)]
pub struct Space<'c> {
    catalogue: &'c Catalogue,
    geometry: Geometry,
    /// What is subtracted from each weighted group's vectors.
    placements: Vec<Placement>,
    /// The name of what is subtracted, for files that depend on it.
    key: String,
}

/// A point of a space that rows are compared with: for each weighted group a vector of length 1 (or 0, of what has no
/// direction). With a linear metric `A`, the part `A_g z_g / ‖A z‖` of the mapped vector of length 1 that each group adds;
/// with a head, the mapped vector of length 1.
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
    /// The space of `geometry` over `catalogue`. A catalogue with fewer than [`MIN_CENTERED`] tracks is not centred and
    /// keeps its components: [`Space::is_centered`].
    ///
    /// # Errors
    /// [`SearchError::Query`] if the catalogue does not have a group or as many components, [`SearchError::Damaged`] if the
    /// vectors of its tracks are not as they were written.
    pub fn new(catalogue: &'c Catalogue, geometry: Geometry) -> Result<Self> {
        let groups = catalogue.groups().len();
        if geometry.weights.is_empty()
            || geometry.weights.iter().any(|&(group, weight)| group >= groups || weight <= 0.0)
        {
            return Err(SearchError::Query("a geometry needs groups of the catalogue with weights above zero".into()));
        }
        for &(group, _) in &geometry.weights {
            catalogue.check_tracks(group)?;
        }
        let has_statistics = catalogue.live().count_ones(..) >= MIN_CENTERED;
        let is_centered = geometry.center && has_statistics;
        if let Some(metric) = &geometry.metric {
            metric.check(catalogue, &geometry)?;
            if geometry.center && !is_centered {
                let live = catalogue.live().count_ones(..);
                return Err(SearchError::Query(format!(
                    "the metric was learned with centring, which needs {MIN_CENTERED} tracks; the catalogue has {live}"
                )));
            }
        }
        let dropped = if has_statistics { geometry.drop_components } else { 0 };
        let mut placements = Vec::with_capacity(geometry.weights.len());
        for &(group, _) in &geometry.weights {
            let mean = match is_centered {
                true => catalogue.statistics().means[group].clone(),
                false => vec![0.0; catalogue.groups()[group].dim],
            };
            let components = catalogue.statistics().components[group].get(..dropped).ok_or_else(|| {
                let (known, name) = (catalogue.statistics().components[group].len(), &catalogue.groups()[group].name);
                SearchError::Query(format!(
                    "cannot drop {dropped} components of hidden state {name}: the catalogue has {known} of it"
                ))
            })?;
            placements.push(Placement { mean, components: components.to_vec() });
        }
        let statistics = catalogue.manifest().statistics.digest.sha256.get(..16).unwrap_or_default();
        let key = match (is_centered, dropped) {
            (false, 0) => "raw".to_string(),
            (true, 0) => format!("{statistics}-centered"),
            (true, _) => format!("{statistics}-without-{dropped}"),
            (false, _) => format!("{statistics}-uncentered-without-{dropped}"),
        };
        Ok(Space { catalogue, geometry, placements, key })
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &'c Catalogue {
        self.catalogue
    }

    /// The geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether the catalogue's mean is subtracted.
    pub fn is_centered(&self) -> bool {
        self.geometry.center && self.catalogue.live().count_ones(..) >= MIN_CENTERED
    }

    /// The point of a row.
    pub fn point(&self, level: Level, row: usize) -> Query {
        self.place(self.raw(level, row))
    }

    /// The placed vector of a row, `concat_g(√w_g · unit_g)` over the weighted groups: its product with another row's is
    /// the score without a metric. It is what a linear metric maps.
    pub fn placed(&self, level: Level, row: usize) -> Vec<f64> {
        let weights = self.geometry.weights.iter();
        let groups = weights.zip(self.place_groups(self.raw(level, row)));
        groups.flat_map(|(&(_, weight), unit)| unit.into_iter().map(move |value| weight.sqrt() * value)).collect()
    }

    /// The vector of length 1 whose product with another row's is their score, that of CSLS apart: the placed vector, or what
    /// the metric maps it to.
    pub fn mapped(&self, level: Level, row: usize) -> Vec<f64> {
        match &self.geometry.metric {
            Some(metric) if metric.is_head() => unit(metric.apply(&self.raw(level, row).concat())),
            Some(metric) => unit(metric.apply(&self.placed(level, row))),
            None => self.placed(level, row),
        }
    }

    /// The vectors of a row, one for each weighted group in order.
    pub fn raw(&self, level: Level, row: usize) -> Vec<Vec<f64>> {
        let vector = |&(group, _): &(usize, f64)| {
            self.catalogue.vectors(level, group).row(row).iter().map(|&value| f64::from(value)).collect()
        };
        self.geometry.weights.iter().map(vector).collect()
    }

    /// [`Space::raw`] of a segment, whose file is not checked before it is used.
    ///
    /// # Errors
    /// [`SearchError::Damaged`] if a value is no number, which no table has.
    pub(crate) fn raw_segment(&self, row: usize) -> Result<Vec<Vec<f64>>> {
        let raw = self.raw(Level::Segments, row);
        if raw.iter().flatten().all(|value| value.is_finite()) {
            return Ok(raw);
        }
        let segment = self.catalogue.segment(row);
        let (start, file) = (segment.start, self.catalogue.track(segment.track).file);
        Err(SearchError::Damaged {
            path: self.catalogue.folder().to_path_buf(),
            reason: format!("the vectors of {file} at {start} s have values that are no numbers"),
            remedy: REBUILD,
        })
    }

    /// The point of raw vectors, one for each weighted group in order.
    pub fn place(&self, vectors: Vec<Vec<f64>>) -> Query {
        let Some(metric) = &self.geometry.metric else {
            return Query { groups: self.place_groups(vectors) };
        };
        if metric.is_head() {
            return Query { groups: vec![unit(metric.apply(&vectors.concat()))] };
        }
        let mut start = 0;
        let mut groups = Vec::with_capacity(vectors.len());
        for (&(_, weight), mut unit) in self.geometry.weights.iter().zip(self.place_groups(vectors)) {
            unit.iter_mut().for_each(|value| *value *= weight.sqrt());
            groups.extend(metric.apply_part(start, &unit));
            start += unit.len();
        }
        Query { groups: unit_sum(groups) }
    }

    /// Raw vectors, one for each weighted group in order, less the mean and the removed components; [`Space::place`] scales
    /// them to length 1. The map is affine: the mean of several vectors is mapped to the mean of their images.
    pub fn center(&self, mut vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        vectors.iter_mut().zip(&self.placements).for_each(|(vector, placement)| placement.center(vector));
        vectors
    }

    /// For each weighted group the direction of its vector, of length 1, or 0 if it has none.
    fn place_groups(&self, vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        self.center(vectors).into_iter().map(unit).collect()
    }

    /// The direction of a weighted sum of points, for a query of several seeds; a weight may be negative.
    pub fn combine(&self, points: &[(Query, f64)]) -> Query {
        let group = |index: usize| {
            let mut sum = vec![0.0; points.first().map_or(0, |(point, _)| point.groups[index].len())];
            for (point, weight) in points {
                sum.iter_mut().zip(&point.groups[index]).for_each(|(sum, value)| *sum += weight * value);
            }
            sum
        };
        let groups = points.first().map_or(0, |(point, _)| point.groups.len());
        let groups = (0..groups).map(group);
        Query {
            groups: match self.geometry.metric {
                Some(_) => unit_sum(groups.collect()),
                None => groups.map(unit).collect(),
            },
        }
    }

    /// The terms of the score of two points, `w_g · cos_g` for each weighted group in order; the score is their sum.
    ///
    /// With a linear metric a term is the mean of what the group's part of either point adds to its product with the whole
    /// of the other: half of the products between groups belongs to each of the two. A head has one term, the score.
    pub fn terms(&self, a: &Query, b: &Query) -> Vec<f64> {
        if self.geometry.metric.is_some() {
            let (whole_a, whole_b) = (sum(&a.groups), sum(&b.groups));
            let pairs = a.groups.iter().zip(&b.groups);
            return pairs.map(|(a, b)| (dot(a, &whole_b) + dot(&whole_a, b)) / 2.0).collect();
        }
        let pairs = self.geometry.weights.iter().zip(a.groups.iter().zip(&b.groups));
        pairs.map(|((_, weight), (a, b))| weight * dot(a, b)).collect()
    }

    /// The score of two points.
    pub fn score(&self, a: &Query, b: &Query) -> f64 {
        self.terms(a, b).iter().fold(0.0, |sum, term| sum + term)
    }
}

/// A vector scaled to length 1; one of length 0 stays as it is.
fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    normalize(&mut vector);
    vector
}

/// The sum of vectors.
fn sum(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors.first().map_or(0, Vec::len)];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// Vectors scaled by one factor so that their sum has length 1; those whose sum is zero become zero.
fn unit_sum(mut vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let sum = sum(&vectors);
    let norm = dot(&sum, &sum).sqrt();
    let factor = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    vectors.iter_mut().flatten().for_each(|value| *value *= factor);
    vectors
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
