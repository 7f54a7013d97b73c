//! How good a vocabulary is: which tokens are used, how evenly, and how far frames are from their centres.

use rayon::prelude::*;

use super::{Centres, Nearest, squared_distance};

/// The figures of a vocabulary on frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// The number of frames.
    pub frames: usize,
    /// The tokens that at least one frame has.
    pub used: usize,
    /// The tokens that no frame has.
    pub dead: usize,
    /// The entropy of the tokens in bits, at most log2 k.
    pub entropy: f64,
    /// The squared distance of a frame from its centre, on average.
    pub inertia: f64,
    /// The median length of a run of equal tokens, in frames. Runs end with a file.
    pub median_run: f64,
}

/// The figures of the labels `nearest` of `k` centres. `ends` are the rows at which files end, ascending.
pub fn quality(nearest: &[Nearest], k: usize, ends: &[usize]) -> Quality {
    let mut counts = vec![0u64; k];
    nearest.iter().for_each(|found| counts[found.centre as usize] += 1);
    let used = counts.iter().filter(|&&count| count > 0).count();
    let total = nearest.len().max(1) as f64;
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 / total);
    let entropy = shares.map(|share| -share * share.log2()).sum::<f64>().max(0.0);
    let inertia = nearest.iter().map(|found| found.distance).sum::<f64>() / total;
    let mut runs = Vec::new();
    let mut start = 0;
    for row in 1..=nearest.len() {
        let ended =
            row == nearest.len() || nearest[row].centre != nearest[row - 1].centre || ends.binary_search(&row).is_ok();
        if ended {
            runs.push(row - start);
            start = row;
        }
    }
    runs.sort_unstable();
    let middle = runs.len() / 2;
    let median_run = match runs.len() {
        0 => 0.0,
        count if count % 2 == 1 => runs[middle] as f64,
        _ => (runs[middle - 1] + runs[middle]) as f64 / 2.0,
    };
    Quality { frames: nearest.len(), used, dead: k - used, entropy, inertia, median_run }
}

/// The number of centres that have another within the share `share` of the root of `inertia`, the mean squared distance of
/// a frame: two names for about the same sound.
pub fn near_doubles(centres: &Centres, inertia: f64, share: f64) -> usize {
    let limit = inertia.max(0.0) * share * share;
    let near = |a: usize, b: usize| a != b && squared_distance(centres.centre(a), centres.centre(b)) <= limit;
    (0..centres.k()).into_par_iter().filter(|&a| (0..centres.k()).any(|b| near(a, b))).count()
}
