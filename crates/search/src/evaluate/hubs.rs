//! Hubs: tracks that are among the neighbours of very many others, while some are never among them: Radovanović,
//! Nanopoulos and Ivanović, "Hubs in space", JMLR 2010.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{ALL_PAIRS, EvaluateOptions};
use crate::Scored;
use crate::analysis::{Rows, best, sample};

/// The neighbours whose mean score is a track's density in CSLS.
const NEIGHBOURS: usize = 10;

/// How unevenly the lists of the k nearest neighbours of all tracks are filled, without any filter. `N_k` is the number of
/// lists that a track is in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Hubs {
    /// The skewness of `N_k`: above 1 there are hubs.
    pub skewness: f64,
    /// The share of tracks that are in no list.
    pub never: f64,
    /// The share of places in lists that would have to go to other tracks for all to have equally many (Robin Hood index).
    pub robin_hood: f64,
    /// The largest `N_k`.
    pub largest: usize,
    /// The number of lists.
    pub lists: usize,
}

/// The densities by which CSLS corrects scores: `2 s(a, b) − r(a) − r(b)`, where `r` is a track's mean score with its
/// nearest. For the ranking of one query `r(a)` is constant and left out.
pub(super) struct LocalScaling {
    densities: Vec<f64>,
}

impl LocalScaling {
    pub(super) fn of(rows: &Rows<'_, '_>, progress: &(dyn Fn(u64) + Sync)) -> Self {
        let all: Vec<usize> = (0..rows.tracks().len()).collect();
        let mean =
            |nearest: Vec<Scored>| nearest.iter().map(|hit| hit.score).sum::<f64>() / nearest.len().max(1) as f64;
        LocalScaling { densities: rows.neighbours(&all, NEIGHBOURS, progress).into_iter().map(mean).collect() }
    }

    pub(super) fn scores(&self, scores: &[f64]) -> Vec<f64> {
        scores.iter().zip(&self.densities).map(|(score, density)| 2.0 * score - density).collect()
    }
}

pub(super) fn hubs(
    rows: &Rows<'_, '_>,
    scaling: Option<&LocalScaling>,
    options: &EvaluateOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Hubs {
    let all: Vec<usize> = (0..rows.tracks().len()).collect();
    let count = if all.len() <= ALL_PAIRS { all.len() } else { options.queries };
    let queries = sample(&all, count, &mut ChaCha8Rng::seed_from_u64(options.seed));
    let lists = rows.map_queries(&queries, progress, |query, scores| match scaling {
        Some(scaling) => best(query, &scaling.scores(scores), options.k),
        None => best(query, scores, options.k),
    });
    let mut counts = vec![0; all.len()];
    lists.iter().flatten().for_each(|hit| counts[hit.row] += 1);
    figures(&counts, lists.len())
}

fn figures(counts: &[usize], lists: usize) -> Hubs {
    let n = counts.len() as f64;
    let total = counts.iter().sum::<usize>() as f64;
    let mean = total / n;
    let moment = |power: i32| counts.iter().map(|&count| (count as f64 - mean).powi(power)).sum::<f64>() / n;
    let deviation = moment(2).sqrt();
    Hubs {
        skewness: if deviation > 0.0 { moment(3) / deviation.powi(3) } else { 0.0 },
        never: counts.iter().filter(|&&count| count == 0).count() as f64 / n,
        robin_hood: counts.iter().map(|&count| (count as f64 - mean).abs()).sum::<f64>() / (2.0 * total.max(1.0)),
        largest: counts.iter().copied().max().unwrap_or(0),
        lists,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hub_and_equal_lists_have_the_figures_of_their_closed_forms() {
        // Nine of ten tracks have one place each, and one has eleven.
        let mut counts = vec![1; 10];
        counts[3] = 11;
        let hub = figures(&counts, 20);
        // A value that one of n has: skewness (n − 2)/√(n − 1).
        assert!((hub.skewness - 8.0 / 3.0).abs() < 1e-12);
        assert!((hub.robin_hood - 0.45).abs() < 1e-12 && hub.never == 0.0 && hub.largest == 11);
        let equal = figures(&[4; 10], 10);
        assert_eq!((equal.skewness, equal.robin_hood, equal.never), (0.0, 0.0, 0.0));
        assert_eq!(figures(&[0, 0, 0, 8], 8).never, 0.75);
    }
}
