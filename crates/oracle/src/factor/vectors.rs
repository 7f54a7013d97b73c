//! Vectors that match if they are nearer than a threshold: Dubnov's Audio Oracle.

use super::rule::{Match, MatchRule};
use super::{Distance, Links};
use crate::{OracleError, Result};

/// Vectors of one length that match if their distance is strictly below the threshold.
#[derive(Debug, Clone)]
pub struct Vectors {
    distance: Distance,
    threshold: f64,
    dim: usize,
    values: Vec<f64>,
    count: usize,
}

impl Vectors {
    /// No vectors yet.
    ///
    /// # Errors
    /// [`OracleError::Option`] for a threshold below zero or NaN.
    pub fn new(distance: Distance, threshold: f64) -> Result<Self> {
        check_threshold("threshold", threshold)?;
        Ok(Vectors { distance, threshold, dim: 0, values: Vec::new(), count: 0 })
    }

    /// The vector of an event, from 0.
    pub fn vector(&self, event: usize) -> &[f64] {
        &self.values[event * self.dim..(event + 1) * self.dim]
    }

    /// The number of vectors.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The check of a threshold, which names the option.
pub(super) fn check_threshold(name: &'static str, threshold: f64) -> Result<()> {
    if threshold >= 0.0 && threshold.is_finite() {
        return Ok(());
    }
    Err(OracleError::option(name, threshold, "a finite number from 0"))
}

impl MatchRule for Vectors {
    type Item = [f64];

    fn push(&mut self, item: &[f64]) -> Result<()> {
        if self.count == 0 {
            self.dim = item.len();
        } else if item.len() != self.dim {
            return Err(OracleError::Dimension { index: self.count, expected: self.dim, found: item.len() });
        }
        self.values.extend_from_slice(item);
        self.count += 1;
        Ok(())
    }

    fn find(&self, links: &Links, state: u32) -> Option<Match> {
        let newest = self.vector(self.count - 1);
        let mut best: Option<Match> = None;
        for target in links.trn(state) {
            let distance = self.distance.between(newest, self.vector(target as usize - 1));
            // A comparison with NaN is false.
            if distance < self.threshold && best.is_none_or(|best| distance < best.distance.0) {
                best = Some(Match { target, distance: (distance, 0.0) });
            }
        }
        best
    }
}
