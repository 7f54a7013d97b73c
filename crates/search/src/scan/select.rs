//! The rows that can be among the best, given what is known of each score: a value and how far it can be off.

use std::sync::atomic::{AtomicU64, Ordering};

/// A row whose score is within `error` of `score`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) row: usize,
    pub(crate) score: f64,
    pub(crate) error: f64,
}

impl Estimate {
    /// The least that the score can be. That of a row of a damaged file may be no number: it proves nothing of other rows.
    fn lower(&self) -> f64 {
        let lower = self.score - self.error;
        if lower.is_nan() { f64::NEG_INFINITY } else { lower }
    }

    /// The most that the score can be.
    fn upper(&self) -> f64 {
        self.score + self.error
    }
}

/// A score that the wanted number of rows are known to reach, shared by threads: a row below it is not among the best.
#[derive(Debug)]
pub(crate) struct Threshold(AtomicU64);

impl Threshold {
    /// A threshold below all scores.
    pub(crate) fn new() -> Self {
        Threshold(AtomicU64::new(f64::NEG_INFINITY.to_bits()))
    }

    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Raises the threshold to `score` unless it is higher already.
    fn raise(&self, score: f64) {
        let higher = |bits: u64| (f64::from_bits(bits) < score).then(|| score.to_bits());
        // It is an error if the threshold is higher already.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, higher);
    }
}

/// The rows among those seen so far that can be among the `top` best.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    top: usize,
    estimates: Vec<Estimate>,
    /// The number of estimates at which those below the threshold are removed.
    limit: usize,
    threshold: &'a Threshold,
}

impl<'a> Candidates<'a> {
    /// No rows yet, of which `top` are wanted, above zero.
    pub(crate) fn new(top: usize, threshold: &'a Threshold) -> Self {
        Candidates { top, estimates: Vec::new(), limit: 2 * top + 64, threshold }
    }

    /// Adds the rows of a block whose scores can reach the threshold.
    pub(crate) fn extend(&mut self, rows: &[usize], scores: &[f64], errors: &[f64]) {
        let mut threshold = self.threshold.get();
        for ((&row, &score), &error) in rows.iter().zip(scores).zip(errors) {
            // What is no number is not below it: whoever ranks the rows counts those.
            let is_below = score + error < threshold;
            if !is_below {
                self.estimates.push(Estimate { row, score, error });
                if self.estimates.len() >= self.limit {
                    self.prune();
                    threshold = self.threshold.get();
                }
            }
        }
    }

    /// The rows that can be among the best of all that were seen.
    pub(crate) fn finish(mut self) -> Vec<Estimate> {
        self.prune();
        self.estimates
    }

    fn prune(&mut self) {
        prune(&mut self.estimates, self.top, self.threshold);
        // Many estimates may overlap: the work stays in proportion to their number.
        self.limit = self.limit.max(2 * self.estimates.len());
    }
}

/// Raises the threshold to what `top` of the estimates are known to reach, and removes those below it.
pub(crate) fn prune(estimates: &mut Vec<Estimate>, top: usize, threshold: &Threshold) {
    if estimates.len() >= top && top > 0 {
        let mut lower: Vec<f64> = estimates.iter().map(Estimate::lower).collect();
        let (_, best, _) = lower.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a));
        threshold.raise(*best);
    }
    let threshold = threshold.get();
    estimates.retain(|estimate| {
        let is_below = estimate.upper() < threshold;
        !is_below
    });
}

/// The queries whose scores can be among the `top` largest below `limit`, of scores that are off by `error` at most.
pub(crate) fn candidates_of(scores: &[f64], error: f64, top: usize, limit: f64) -> Vec<usize> {
    let mut certain: Vec<f64> = scores.iter().copied().filter(|score| score + error < limit).collect();
    let mut least = f64::NEG_INFINITY;
    if certain.len() > top && error.is_finite() {
        let (_, nth, _) = certain.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a));
        least = *nth - 2.0 * error;
    }
    (0..scores.len()).filter(|&index| scores[index] >= least).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_can_be_among_the_best_stays() {
        let threshold = Threshold::new();
        let mut candidates = Candidates::new(2, &threshold);
        let rows: Vec<usize> = (0..500).collect();
        let mut scores: Vec<f64> = rows.iter().map(|&row| (row * 7 % 500) as f64 / 500.0).collect();
        let mut errors = vec![1e-9; 500];
        // Just reaches the second best from below, cannot reach it, and is not known at all.
        (scores[10], errors[10]) = (0.99, 0.006_000_1);
        (scores[20], errors[20]) = (0.99, 0.005_999);
        (scores[30], errors[30]) = (0.0, f64::INFINITY);
        candidates.extend(&rows, &scores, &errors);
        let mut rows: Vec<usize> = candidates.finish().iter().map(|estimate| estimate.row).collect();
        rows.sort_unstable();
        let best: Vec<usize> = (0..500).filter(|row| row * 7 % 500 >= 498).collect();
        let mut expected = [&best[..], &[10, 30]].concat();
        expected.sort_unstable();
        assert_eq!(rows, expected);
    }
}
