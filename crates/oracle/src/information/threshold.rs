//! The search for the threshold with the most information rate.

use rayon::prelude::*;

use super::rate::information_rate;
use crate::{Links, OracleError, Result};

/// The largest number of thresholds of a search, each of which builds an oracle.
const MAX_THRESHOLDS: f64 = 10_000.0;

/// Thresholds `start`, `start + step`, … below `stop`, as `numpy.arange` returns them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// The first threshold.
    pub start: f64,
    /// The end, which is not in the grid.
    pub stop: f64,
    /// The distance between thresholds.
    pub step: f64,
}

/// A threshold with the total information rate of its oracle: a point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ThresholdScore {
    /// The threshold θ.
    pub threshold: f64,
    /// The sum of the information rate over all events, in bits.
    pub information_rate: f64,
    /// The number of clusters.
    pub clusters: u32,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ThresholdSearch {
    /// The first threshold with the largest information rate.
    pub best: ThresholdScore,
    /// All thresholds, ascending.
    pub curve: Vec<ThresholdScore>,
}

impl Grid {
    /// The thresholds.
    ///
    /// # Errors
    /// [`OracleError::Option`] for a grid without thresholds, or with more than 10,000.
    pub fn thresholds(&self) -> Result<Vec<f64>> {
        let count = ((self.stop - self.start) / self.step).ceil();
        let valid = self.start >= 0.0 && self.step > 0.0 && (1.0..=MAX_THRESHOLDS).contains(&count);
        if !valid {
            let found = format!("{}:{}:{}", self.start, self.stop, self.step);
            return Err(OracleError::option(
                "grid of thresholds",
                found,
                "START:STOP:STEP with 1 to 10,000 thresholds from 0",
            ));
        }
        Ok((0..count as usize).map(|index| self.start + index as f64 * self.step).collect())
    }
}

/// Builds an oracle for each threshold and compares their information rates. The thresholds share the threads of rayon; the
/// result does not depend on their number.
///
/// # Errors
/// [`OracleError::Option`] for an invalid grid, and the first error of `build`.
pub fn threshold_search(
    grid: Grid,
    alpha: f64,
    build: impl Fn(f64) -> Result<Links> + Sync,
) -> Result<ThresholdSearch> {
    let curve = grid
        .thresholds()?
        .into_par_iter()
        .map(|threshold| {
            let links = build(threshold)?;
            let information_rate = information_rate(&links, alpha).total();
            Ok(ThresholdScore { threshold, information_rate, clusters: links.cluster_count() })
        })
        .collect::<Result<Vec<_>>>()?;
    let first = *curve.first().ok_or(OracleError::Empty)?;
    let best = curve.iter().fold(
        first,
        |best, score| {
            if score.information_rate > best.information_rate { *score } else { best }
        },
    );
    Ok(ThresholdSearch { best, curve })
}
