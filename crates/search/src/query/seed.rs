//! Seeds: what a search starts from, and the point that several of them make.

use std::collections::BTreeMap;

use crate::catalogue::Value;
use crate::space::{Query, Space};
use crate::vectors::Level;
use crate::{Catalogue, Result, SearchError};

/// What a search starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Seed {
    /// A track of the catalogue.
    Track(usize),
    /// A passage of a track of the catalogue, in seconds: the mean of the segments that it covers.
    Passage {
        /// The track.
        track: usize,
        /// The start.
        start: f64,
        /// The end.
        end: f64,
    },
    /// Vectors that are not of the catalogue, such as those of another file.
    Vectors {
        /// What the seed is called in answers.
        label: String,
        /// Its length in seconds, if it is a file.
        duration: Option<f64>,
        /// Its segments, of which the mean is compared.
        segments: Vec<SeedSegment>,
        /// What is known about it, by column.
        metadata: BTreeMap<String, Value>,
    },
}

/// A segment of a seed that is not of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedSegment {
    /// Its start in seconds.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
    /// The vectors of all groups of the catalogue in order, one after the other, as in a row of its table.
    pub values: Vec<f32>,
}

/// The start and end of a segment in seconds, and its vectors, one for each weighted group.
pub(crate) type RawSegment = (f64, f64, Vec<Vec<f64>>);

impl Seed {
    /// The track of the catalogue that the seed is, or is a passage of.
    pub fn track(&self) -> Option<usize> {
        match *self {
            Seed::Track(track) | Seed::Passage { track, .. } => Some(track),
            Seed::Vectors { .. } => None,
        }
    }

    /// What the seed is called: an escaped path, for a passage with its times, or the label of vectors.
    pub fn label(&self, catalogue: &Catalogue) -> String {
        match self {
            Seed::Track(track) => catalogue.track(*track).file.to_string(),
            Seed::Passage { track, start, end } => format!("{}@{start}-{end}", catalogue.track(*track).file),
            Seed::Vectors { label, .. } => label.clone(),
        }
    }

    /// The length in seconds of the recording that the seed is the whole of.
    pub(crate) fn duration(&self, catalogue: &Catalogue) -> Option<f64> {
        match self {
            Seed::Track(track) => Some(catalogue.track(*track).duration),
            Seed::Passage { .. } => None,
            Seed::Vectors { duration, .. } => *duration,
        }
    }

    /// What is known about the seed in a column of the catalogue: a number or texts.
    pub(crate) fn known(&self, catalogue: &Catalogue, column: &str) -> Option<Value> {
        let value = match self {
            Seed::Track(track) | Seed::Passage { track, .. } => {
                let column = catalogue.column(column).ok()?;
                column
                    .number(*track)
                    .map(Value::Number)
                    .unwrap_or_else(|| Value::Texts(column.texts(*track).map(ToString::to_string).collect()))
            }
            Seed::Vectors { metadata, .. } => metadata.get(column)?.clone(),
        };
        match value {
            Value::Texts(texts) if texts.is_empty() => None,
            value => Some(value),
        }
    }

    /// The segments: times in seconds, and the vectors of the weighted groups of `space`.
    pub(crate) fn segments(&self, space: &Space<'_>) -> Result<Vec<RawSegment>> {
        let catalogue = space.catalogue();
        match self {
            Seed::Track(track) | Seed::Passage { track, .. } => {
                if *track >= catalogue.tracks() {
                    let reason = format!("the catalogue has {} tracks, and no track {track}", catalogue.tracks());
                    return Err(SearchError::Query(reason));
                }
                let all = catalogue.track(*track).segments.map(|row| (row, catalogue.segment(row)));
                let within = match *self {
                    Seed::Passage { start, end, .. } => passage(all, start, end).ok_or_else(|| {
                        let (label, length) = (self.label(catalogue), catalogue.track(*track).duration);
                        SearchError::Query(match start >= length {
                            true => format!(
                                "invalid passage {label}: it starts at {start} s, and the track ends at {length:.2} s"
                            ),
                            false => format!(
                                "{label}: the catalogue has no segment there, because it is silent or was left out"
                            ),
                        })
                    })?,
                    _ => all.collect(),
                };
                let segment = |(row, segment): (usize, crate::catalogue::Segment)| {
                    Ok((segment.start, segment.end, space.raw_segment(row)?))
                };
                within.into_iter().map(segment).collect()
            }
            Seed::Vectors { label, segments, .. } => {
                let dims: Vec<usize> = catalogue.groups().iter().map(|group| group.dim).collect();
                let total: usize = dims.iter().sum();
                let mut result = Vec::with_capacity(segments.len());
                for segment in segments {
                    let found = segment.values.len();
                    if found != total {
                        return Err(SearchError::Query(format!("{label}: expected {total} values, found {found}")));
                    }
                    if segment.values.iter().any(|value| !value.is_finite()) {
                        return Err(SearchError::Query(format!("{label}: a value is not finite")));
                    }
                    let group = |&(group, _): &(usize, f64)| {
                        let first: usize = dims[..group].iter().sum();
                        segment.values[first..first + dims[group]].iter().map(|&value| f64::from(value)).collect()
                    };
                    result.push((segment.start, segment.end, space.geometry().weights.iter().map(group).collect()));
                }
                if result.is_empty() {
                    return Err(SearchError::Query(format!("{label} has no segments")));
                }
                Ok(result)
            }
        }
    }

    /// The vectors of the weighted groups: the means of the segments, rounded to f32 as those of tracks are.
    pub(crate) fn raw(&self, space: &Space<'_>) -> Result<Vec<Vec<f64>>> {
        if let Seed::Track(track) = *self
            && track < space.catalogue().tracks()
        {
            return Ok(space.raw(Level::Tracks, track));
        }
        let segments = self.segments(space)?;
        Ok(mean(segments.iter().map(|(_, _, vectors)| vectors)))
    }
}

/// The mean of the vectors of several segments, group by group, rounded to f32.
fn mean<'a>(segments: impl Iterator<Item = &'a Vec<Vec<f64>>>) -> Vec<Vec<f64>> {
    let (mut sums, mut count) = (Vec::<Vec<f64>>::new(), 0.0);
    for vectors in segments {
        count += 1.0;
        if sums.is_empty() {
            sums.clone_from(vectors);
            continue;
        }
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        }
    }
    sums.iter_mut().flatten().for_each(|sum| *sum = f64::from((*sum / count) as f32));
    sums
}

/// The segments that a passage covers: those that it overlaps by half of the shorter of the two, or else the one that it
/// overlaps most. `None` if it overlaps none.
fn passage(
    segments: impl Iterator<Item = (usize, crate::catalogue::Segment)>,
    start: f64,
    end: f64,
) -> Option<Vec<(usize, crate::catalogue::Segment)>> {
    let overlap = |segment: &crate::catalogue::Segment| segment.end.min(end) - segment.start.max(start);
    let touched: Vec<_> = segments.filter(|(_, segment)| overlap(segment) > 0.0).collect();
    let is_covered =
        |segment: &crate::catalogue::Segment| overlap(segment) >= 0.5 * (segment.end - segment.start).min(end - start);
    let covered: Vec<_> = touched.iter().copied().filter(|(_, segment)| is_covered(segment)).collect();
    if covered.is_empty() {
        let most = touched.into_iter().reduce(|a, b| if overlap(&b.1) > overlap(&a.1) { b } else { a });
        return most.map(|most| vec![most]);
    }
    Some(covered)
}

/// Seeds with their weights, and the point that they make.
#[derive(Debug)]
pub(crate) struct Seeds<'s> {
    /// The seeds and their weights.
    pub(crate) seeds: &'s [(Seed, f64)],
    /// The point of each.
    pub(crate) points: Vec<Query>,
    /// The direction of the weighted sum of the points.
    pub(crate) point: Query,
}

impl<'s> Seeds<'s> {
    /// The point of weighted seeds in `space`: the direction of the sum of their points, in each hidden state.
    pub(crate) fn new(space: &Space<'_>, seeds: &'s [(Seed, f64)]) -> Result<Self> {
        if !seeds.iter().any(|&(_, weight)| weight > 0.0) {
            return Err(SearchError::Query("a search needs a seed with a weight above zero".into()));
        }
        if let Some((_, weight)) = seeds.iter().find(|(_, weight)| !weight.is_finite() || *weight == 0.0) {
            return Err(SearchError::Query(format!(
                "the weight {weight} of a seed: expected a number other than zero"
            )));
        }
        let mut points = Vec::with_capacity(seeds.len());
        for (seed, _) in seeds {
            let point = space.place(seed.raw(space)?);
            if point.vectors().iter().all(|vector| vector.iter().all(|&value| value == 0.0)) {
                let label = seed.label(space.catalogue());
                let reason = "in this geometry it has no direction that others can be compared with";
                return Err(SearchError::Query(format!("{label}: {reason}")));
            }
            points.push(point);
        }
        let point = match &points[..] {
            [point] => point.clone(),
            _ => {
                let weighted: Vec<(Query, f64)> =
                    points.iter().cloned().zip(seeds.iter().map(|&(_, weight)| weight)).collect();
                space.combine(&weighted)
            }
        };
        if point.vectors().iter().all(|vector| vector.iter().all(|&value| value == 0.0)) {
            return Err(SearchError::Query("the seeds cancel each other: their weighted sum is zero".into()));
        }
        Ok(Seeds { seeds, points, point })
    }

    /// The tracks of the catalogue among the seeds.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = usize> {
        self.seeds.iter().filter_map(|(seed, _)| seed.track())
    }

    /// The seeds with weights above zero.
    pub(crate) fn plus(&self) -> impl Iterator<Item = &'s Seed> {
        self.seeds.iter().filter(|&&(_, weight)| weight > 0.0).map(|(seed, _)| seed)
    }
    /// For each hidden state the factor by which the weighted sum of the seeds' points is scaled to the query's point.
    pub(crate) fn scales(&self) -> Vec<f64> {
        let group = |(index, target): (usize, &Vec<f64>)| {
            let mut sum = vec![0.0; target.len()];
            for (point, (_, weight)) in self.points.iter().zip(self.seeds) {
                sum.iter_mut().zip(&point.vectors()[index]).for_each(|(sum, value)| *sum += weight * value);
            }
            let length: f64 = sum.iter().map(|value| value * value).sum();
            let product: f64 = sum.iter().zip(target).map(|(a, b)| a * b).sum();
            if length > 0.0 { product / length } else { 0.0 }
        };
        self.point.vectors().iter().enumerate().map(group).collect()
    }
}
