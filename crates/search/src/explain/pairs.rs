//! Pairs of passages, and their shares of a score.
//!
//! A track's vector is the mean of its segments' vectors, and centring, removed components and a linear metric are affine,
//! so that with the lengths of the tracks' vectors as constants the score of two tracks is the mean over all pairs of their
//! segments. A pair's share is thus what the score would lose without it, and not an attribution after the fact. It does
//! not hold for a head, which is not linear.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::query::{RawSegment, Seed, Seeds};
use crate::space::{Query, Space};
use crate::vectors::Level;

/// A passage of a seed, a passage of the hit, and what the two add to the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The index of the seed in the query.
    pub seed: usize,
    /// The start of the seed's passage in seconds.
    pub seed_start: f64,
    /// Its end.
    pub seed_end: f64,
    /// The start of the hit's passage in seconds.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// What the pair adds to the cosine.
    pub share: f64,
    /// The cosine of the two passages alone.
    pub cosine: f64,
}

/// How much of the seeds and of the hit takes part in a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Participation {
    /// The number of pairs of passages.
    pub pairs: usize,
    /// The fraction of pairs whose share is above zero.
    pub positive: f64,
    /// The sum of all pairs' shares: the cosine.
    pub sum: f64,
    /// The segments of the seeds.
    pub seed_segments: usize,
    /// The fewest segments of the seeds whose pairs' shares sum to half of the cosine; `None` if it is not above zero.
    pub seed_segments_for_half: Option<usize>,
    /// The segments of the hit.
    pub hit_segments: usize,
    /// The fewest segments of the hit whose pairs' shares sum to half of the cosine; `None` if it is not above zero.
    pub hit_segments_for_half: Option<usize>,
}

/// A segment as it takes part in a point.
struct Part {
    /// The index of the seed; 0 for the hit.
    seed: usize,
    start: f64,
    end: f64,
    /// The raw vectors.
    raw: Vec<Vec<f64>>,
    /// The segment under the map that takes its track to the track's point, scaled so that the parts sum to that point.
    image: Query,
}

/// All pairs of the segments of seeds and of a hit.
pub(super) struct Pairs {
    seeds: Vec<Part>,
    hit: Vec<Part>,
    /// The shares: for each segment of the seeds those with all segments of the hit.
    shares: Vec<f64>,
}

impl Pairs {
    /// The pairs of the segments of `seeds` and of a track, or of one segment of it; `None` if the score is not a sum over
    /// pairs.
    pub(super) fn new(space: &Space<'_>, seeds: &Seeds<'_>, level: Level, row: usize) -> Result<Option<Pairs>> {
        let catalogue = space.catalogue();
        let scales = seeds.scales();
        let mut parts = Vec::new();
        for (index, (seed, weight)) in seeds.seeds.iter().enumerate() {
            let factors: Vec<f64> = scales.iter().map(|scale| scale * weight).collect();
            let Some(seed) = parts_of(space, index, &seed.raw(space)?, seed.segments(space)?, &factors) else {
                return Ok(None);
            };
            parts.extend(seed);
        }
        let segments = match level {
            Level::Tracks => Seed::Track(row).segments(space)?,
            Level::Segments => {
                let segment = catalogue.segment(row);
                vec![(segment.start, segment.end, space.raw_segment(row)?)]
            }
        };
        let factors = vec![1.0; scales.len()];
        let Some(hit) = parts_of(space, 0, &space.raw(level, row), segments, &factors) else { return Ok(None) };
        let shares = parts
            .par_iter()
            .flat_map_iter(|seed| hit.iter().map(|hit| space.score(&seed.image, &hit.image)).collect::<Vec<f64>>());
        Ok(Some(Pairs { shares: shares.collect(), seeds: parts, hit }))
    }

    /// The `count` pairs with the largest shares, largest first; of equal ones the earlier first.
    pub(super) fn largest(&self, space: &Space<'_>, count: usize) -> Vec<Pair> {
        let mut order: Vec<usize> = (0..self.shares.len()).collect();
        order.sort_by(|&a, &b| self.shares[b].total_cmp(&self.shares[a]));
        let pair = |index: usize| {
            let (seed, hit) = (&self.seeds[index / self.hit.len()], &self.hit[index % self.hit.len()]);
            Pair {
                seed: seed.seed,
                seed_start: seed.start,
                seed_end: seed.end,
                start: hit.start,
                end: hit.end,
                share: self.shares[index],
                cosine: space.score(&space.place(seed.raw.clone()), &space.place(hit.raw.clone())),
            }
        };
        order.into_iter().take(count).map(pair).collect()
    }

    /// How much of the seeds and of the hit takes part.
    pub(super) fn participation(&self) -> Participation {
        let columns = self.hit.len().max(1);
        let sum: f64 = self.shares.iter().sum();
        let of_seeds: Vec<f64> = self.shares.chunks(columns).map(|row| row.iter().sum()).collect();
        let of_hit: Vec<f64> = (0..columns).map(|hit| self.shares.iter().skip(hit).step_by(columns).sum()).collect();
        let positive = self.shares.iter().filter(|&&share| share > 0.0).count();
        Participation {
            pairs: self.shares.len(),
            positive: positive as f64 / self.shares.len().max(1) as f64,
            sum,
            seed_segments: self.seeds.len(),
            seed_segments_for_half: fewest_for_half(of_seeds, sum),
            hit_segments: self.hit.len(),
            hit_segments_for_half: fewest_for_half(of_hit, sum),
        }
    }
}

/// The parts of a point whose raw vectors are `whole`; `None` if the map to points is not affine.
fn parts_of(
    space: &Space<'_>,
    seed: usize,
    whole: &[Vec<f64>],
    segments: Vec<RawSegment>,
    factors: &[f64],
) -> Option<Vec<Part>> {
    let count = segments.len() as f64;
    let whole = space.center(whole.to_vec());
    let scales: Vec<f64> =
        whole.iter().map(|vector| norm(vector)).map(|n| if n > 0.0 { 1.0 / n } else { 0.0 }).collect();
    let mapped = mapped(space, whole, &scales)?;
    // A linear metric scales the whole of the mapped vector, not its parts.
    let length = match space.geometry().metric {
        Some(_) => norm(&sum(&mapped)),
        None => 1.0,
    };
    let factors: Vec<f64> =
        factors.iter().map(|factor| if length > 0.0 { factor / (length * count) } else { 0.0 }).collect();
    let mut parts = Vec::with_capacity(segments.len());
    for (start, end, raw) in segments {
        let mut image = self::mapped(space, space.center(raw.clone()), &scales)?;
        for (vector, factor) in image.iter_mut().zip(&factors) {
            vector.iter_mut().for_each(|value| *value *= factor);
        }
        parts.push(Part { seed, start, end, raw, image: Query::from_vectors(image) });
    }
    Some(parts)
}

/// Centred vectors, scaled by `scales` and mapped by the metric if there is one; `None` if that is not linear.
fn mapped(space: &Space<'_>, mut vectors: Vec<Vec<f64>>, scales: &[f64]) -> Option<Vec<Vec<f64>>> {
    for (vector, scale) in vectors.iter_mut().zip(scales) {
        vector.iter_mut().for_each(|value| *value *= scale);
    }
    let Some(metric) = &space.geometry().metric else { return Some(vectors) };
    let mut first = 0;
    let mut mapped = Vec::with_capacity(vectors.len());
    for (mut vector, (_, weight)) in vectors.into_iter().zip(&space.geometry().weights) {
        vector.iter_mut().for_each(|value| *value *= weight.sqrt());
        mapped.push(metric.apply_part(first, &vector)?);
        first += vector.len();
    }
    Some(mapped)
}

fn sum(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors.first().map_or(0, Vec::len)];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// The fewest of `shares`, largest first, that reach half of their `sum`.
fn fewest_for_half(mut shares: Vec<f64>, sum: f64) -> Option<usize> {
    if sum <= 0.0 {
        return None;
    }
    shares.sort_by(|a, b| b.total_cmp(a));
    let mut reached = 0.0;
    let short = shares.iter().take_while(|&&share| {
        let is_short = reached < 0.5 * sum;
        reached += share;
        is_short
    });
    Some(short.count())
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}
