//! What cosines are usual in a catalogue: those of random pairs of tracks by different artists.
//!
//! A cosine alone says little: in one hidden state all pairs lie above 0.8, in another most are below 0.1.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
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
    /// Samples up to 2048 live tracks without replacement, and compares all pairs of them by different artists, or if there
    /// are more than 20,000 so many of them, drawn without replacement. The same `seed` samples the same.
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
        let mut terms: Vec<Vec<f64>> = pairs.par_iter().map(|&(a, b)| space.terms(&points[a], &points[b])).collect();
        // A segment of a damaged file, which hits leave out as well, has no cosine.
        terms.retain(|terms| terms.iter().all(|term| term.is_finite()));
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

/// The pairs of indices in `tracks` that are compared, ascending.
fn pairs(tracks: &[usize], credits: &Credits, random: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let count = tracks.len();
    let is_other = |&(a, b): &(usize, usize)| !credits.same_artist(tracks[a], tracks[b]);
    let others = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).filter(is_other);
    let total = pairs_of_others(tracks, credits);
    if total <= PAIRS {
        return others.collect();
    }
    // Floyd's algorithm, <https://doi.org/10.1145/30401.315746>: as many draws as there are numbers, each a different one.
    let mut drawn = FixedBitSet::with_capacity(total);
    for last in total - PAIRS..total {
        let number = below(random, last + 1);
        if drawn.put(number) {
            drawn.insert(last);
        }
    }
    others.enumerate().filter(|&(number, _)| drawn.contains(number)).map(|(_, pair)| pair).collect()
}

/// The number of pairs by different artists: all pairs but those within an artist. Unknown artists differ from all.
fn pairs_of_others(tracks: &[usize], credits: &Credits) -> usize {
    let pairs = |count: usize| count * count.saturating_sub(1) / 2;
    let mut of_artist: HashMap<u32, usize> = HashMap::new();
    tracks
        .iter()
        .filter_map(|&track| credits.artist(track))
        .for_each(|artist| *of_artist.entry(artist).or_default() += 1);
    pairs(tracks.len()) - of_artist.into_values().map(pairs).sum::<usize>()
}

/// A random number below `end`: the upper half of a product, whose bias of `end / 2⁶⁴` is immaterial, and which other
/// programs compute without the details of a library.
fn below(random: &mut ChaCha8Rng, end: usize) -> usize {
    ((u128::from(random.next_u64()) * end as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Credits of `tracks` tracks: the artists that a rule gives.
    fn credits(tracks: usize, artist: impl Fn(usize) -> Option<u32>) -> Credits {
        Credits::of_artists((0..tracks).map(artist).collect())
    }

    /// All pairs by different artists, by the definition.
    fn all(tracks: &[usize], credits: &Credits) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for a in 0..tracks.len() {
            for b in 0..tracks.len() {
                if a < b && !credits.same_artist(tracks[a], tracks[b]) {
                    pairs.push((a, b));
                }
            }
        }
        pairs
    }

    #[test]
    fn all_pairs_by_different_artists_are_compared_and_of_more_so_many_different_ones() {
        let draw =
            |tracks: &[usize], credits: &Credits, seed| pairs(tracks, credits, &mut ChaCha8Rng::seed_from_u64(seed));
        // 300 tracks have 44,850 pairs: of few artists most are within one, and all others are compared.
        for (count, artists, unknown) in
            [(0, 1, 0), (1, 1, 1), (40, 5, 3), (201, 1, 97), (300, 1, 60), (300, 1, 100), (300, 2, 0), (300, 7, 9)]
        {
            let credits = credits(count + 1, |track| (track >= unknown).then(|| track as u32 % artists));
            // The tracks are some of the catalogue's.
            let tracks: Vec<usize> = (1..=count).collect();
            let (expected, found) = (all(&tracks, &credits), draw(&tracks, &credits, 0));
            assert_eq!(pairs_of_others(&tracks, &credits), expected.len(), "{count} {artists} {unknown}");
            if expected.len() <= PAIRS {
                assert_eq!(found, expected, "{count} {artists} {unknown}");
                continue;
            }
            assert_eq!(found.len(), PAIRS);
            assert!(found.is_sorted_by(|a, b| a < b), "a pair is drawn twice");
            assert!(found.iter().all(|pair| expected.binary_search(pair).is_ok()));
            assert_eq!(found, draw(&tracks, &credits, 0));
            assert_ne!(found, draw(&tracks, &credits, 1));
            // Each is as likely as any other: the half of lower numbers has its share, within five standard deviations.
            let share = PAIRS as f64 / expected.len() as f64;
            let half = &expected[..expected.len() / 2];
            let lower = found.iter().filter(|pair| **pair <= half[half.len() - 1]).count() as f64;
            let deviation = (half.len() as f64 * share * (1.0 - share)).sqrt();
            assert!((lower - half.len() as f64 * share).abs() < 5.0 * deviation, "{lower} of {}", half.len());
        }
    }
}
