//! What cosines are usual in a catalogue: those of random pairs of tracks by different artists.
//!
//! A cosine alone says little: in one hidden state all pairs lie above 0.8, in another most are below 0.1.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::credits::Credits;
use super::options::SearchLevel;
use crate::space::{Query, Space};
use crate::vectors::Level;

/// The most tracks that are sampled.
const TRACKS: usize = 2048;

/// The most pairs that are compared.
const PAIRS: usize = 20_000;

/// The cosines of random pairs of tracks by different artists. Two tracks of unknown artists count as different.
#[derive(Debug, Clone)]
pub struct Calibration {
    level: SearchLevel,
    /// The sampled tracks, ascending.
    tracks: Vec<usize>,
    /// The point of each, or of one of its segments.
    points: Vec<Query>,
    /// The cosines of pairs, ascending.
    cosines: Vec<f64>,
    average_terms: Vec<f64>,
    credits: Credits,
}

impl Calibration {
    /// Samples up to 2048 live tracks without replacement, and compares all pairs of them by different artists, or 20,000
    /// random ones if there are more. The same `seed` samples the same.
    pub fn new(space: &Space<'_>, level: SearchLevel, seed: u64) -> Self {
        let catalogue = space.catalogue();
        let credits = Credits::of(catalogue);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut tracks: Vec<usize> = catalogue.live().ones().collect();
        if tracks.len() > TRACKS {
            // The first steps of Fisher and Yates's shuffle.
            for index in 0..TRACKS {
                let other = index + below(&mut random, tracks.len() - index);
                tracks.swap(index, other);
            }
            tracks.truncate(TRACKS);
            tracks.sort_unstable();
        }
        let rows: Vec<(Level, usize)> = match level {
            SearchLevel::Tracks => tracks.iter().map(|&track| (Level::Tracks, track)).collect(),
            SearchLevel::Passages => {
                let segments = tracks.iter().map(|&track| catalogue.track(track).segments);
                segments.map(|rows| (Level::Segments, rows.start + below(&mut random, rows.len().max(1)))).collect()
            }
        };
        let points: Vec<Query> = rows.par_iter().map(|&(level, row)| space.point(level, row)).collect();
        let pairs = pairs(&tracks, &credits, &mut random);
        let terms: Vec<Vec<f64>> = pairs.par_iter().map(|&(a, b)| space.terms(&points[a], &points[b])).collect();
        let mut average_terms = vec![0.0; terms.first().map_or(0, Vec::len)];
        for terms in &terms {
            average_terms.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        average_terms.iter_mut().for_each(|sum| *sum /= terms.len() as f64);
        let mut cosines: Vec<f64> = terms.iter().map(|terms| terms.iter().sum()).collect();
        cosines.sort_unstable_by(f64::total_cmp);
        Calibration { level, tracks, points, cosines, average_terms, credits }
    }

    /// What was sampled.
    pub fn level(&self) -> SearchLevel {
        self.level
    }

    /// The number of pairs; 0 if there are no two tracks by different artists. A percentile is a multiple of 100 by it.
    pub fn pairs(&self) -> usize {
        self.cosines.len()
    }

    /// The share of pairs whose cosine is lower, in percent; `None` without pairs.
    pub fn percentile(&self, cosine: f64) -> Option<f64> {
        let lower = self.cosines.partition_point(|&other| other < cosine);
        (!self.cosines.is_empty()).then(|| 100.0 * lower as f64 / self.cosines.len() as f64)
    }

    /// The average of each term of [`Space::terms`] over the pairs; none without pairs.
    pub fn average_terms(&self) -> &[f64] {
        &self.average_terms
    }

    /// The credits of all tracks.
    pub fn credits(&self) -> &Credits {
        &self.credits
    }

    /// The cosines of `query` with the sampled tracks but for those of `seeds` and of their artists, ascending.
    pub(super) fn of_query(&self, space: &Space<'_>, query: &Query, seeds: &[usize]) -> Vec<f64> {
        let is_other = |track: usize| seeds.iter().all(|&seed| seed != track && !self.credits.same_artist(seed, track));
        let sampled = self.tracks.iter().zip(&self.points).filter(|&(&track, _)| is_other(track));
        let mut cosines: Vec<f64> = sampled.map(|(_, point)| space.score(query, point)).collect();
        cosines.sort_unstable_by(f64::total_cmp);
        cosines
    }
}

/// The pairs of indices in `tracks` that are compared.
fn pairs(tracks: &[usize], credits: &Credits, random: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let count = tracks.len();
    let is_other = |&(a, b): &(usize, usize)| !credits.same_artist(tracks[a], tracks[b]);
    if count * count.saturating_sub(1) / 2 <= PAIRS {
        return (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).filter(is_other).collect();
    }
    // In a catalogue of almost one artist most pairs are by the same; the draws end after a while.
    let mut pairs = Vec::with_capacity(PAIRS);
    for _ in 0..20 * PAIRS {
        let (a, b) = (below(random, count), below(random, count));
        if a != b && is_other(&(a, b)) {
            pairs.push((a, b));
            if pairs.len() == PAIRS {
                break;
            }
        }
    }
    pairs
}

/// A random number below `end`: the upper half of a product, whose bias of `end / 2⁶⁴` is immaterial, and which other
/// programs compute without the details of a library.
fn below(random: &mut ChaCha8Rng, end: usize) -> usize {
    ((u128::from(random.next_u64()) * end as u128) >> 64) as usize
}
