//! The analysis of a phrase: patterns of whole units that its intervals could be, and the choice among them.

use super::approximate::approximate;
use super::fit::{deviations, unit_tempo};
use crate::barlow::{gcd, indigestibility};
use crate::{EventsError, Result};

/// A phrase as whole rhythmic units.
#[derive(Debug, Clone, PartialEq)]
pub struct RhythmAnalysis {
    /// The length of each interval between onsets in units.
    pub units: Vec<u64>,
    /// The tempo in units per minute.
    pub unit_tempo: f64,
    /// The distance of each onset after the first from the grid, as a share of the grid's interval before it; positive is
    /// late.
    pub deviations: Vec<f64>,
    /// The sum of the indigestibilities of the units.
    pub indigestibility: f64,
    /// The score among the patterns that were considered, 0 to 1: half the deviation and half the indigestibility, each
    /// scaled from the least to the greatest. The lowest wins; where all are equal, as for a single pattern, the part is 0.
    pub score: f64,
    /// The number of patterns that were considered.
    pub patterns: usize,
}

/// The analysis of the onsets of a phrase, in seconds; `None` for fewer than two.
///
/// Every interval, and every sum of two neighbours, is tried as the reference: all intervals over it are rounded to thirds
/// or quarters ([`approximate`]) and brought to a common denominator. Among equal scores the earliest pattern wins.
///
/// # Errors
/// [`EventsError::Onsets`] if the onsets do not ascend or are not finite.
pub fn analyse(onsets: &[f64]) -> Result<Option<RhythmAnalysis>> {
    check(onsets)?;
    let intervals: Vec<f64> = onsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut candidates: Vec<RhythmAnalysis> = Vec::new();
    for reference in references(onsets) {
        let units = whole_units(&intervals, reference);
        if candidates.iter().any(|candidate| candidate.units == units) {
            continue;
        }
        let unit_tempo = unit_tempo(&units, onsets);
        let deviations = deviations(&units, onsets, unit_tempo);
        let indigestibility = units.iter().map(|&length| indigestibility(length)).sum();
        candidates.push(RhythmAnalysis { units, unit_tempo, deviations, indigestibility, score: 0.0, patterns: 0 });
    }
    Ok(best(candidates))
}

/// The first of the candidates with the lowest score.
fn best(mut candidates: Vec<RhythmAnalysis>) -> Option<RhythmAnalysis> {
    let by_deviation = scaled(candidates.iter().map(|candidate| candidate.deviations.iter().map(|d| d.abs()).sum()));
    let by_units = scaled(candidates.iter().map(|candidate| candidate.indigestibility));
    let patterns = candidates.len();
    for (index, candidate) in candidates.iter_mut().enumerate() {
        candidate.score = 0.5 * by_deviation[index] + 0.5 * by_units[index];
        candidate.patterns = patterns;
    }
    candidates.into_iter().reduce(|best, other| if other.score < best.score { other } else { best })
}

/// The values scaled from the least, 0, to the greatest, 1; zeros if all are equal.
fn scaled(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = high - low;
    values.iter().map(|value| if range > 0.0 { (value - low) / range } else { 0.0 }).collect()
}

/// The lengths to which the intervals are compared: each interval, and after it its sum with the next one.
fn references(onsets: &[f64]) -> Vec<f64> {
    let mut lengths = Vec::with_capacity(2 * onsets.len());
    for start in 0..onsets.len().saturating_sub(1) {
        lengths.push(onsets[start + 1] - onsets[start]);
        if let Some(second) = onsets.get(start + 2) {
            lengths.push(second - onsets[start]);
        }
    }
    lengths
}

/// The intervals over the reference, rounded, in units of the least common denominator.
fn whole_units(intervals: &[f64], reference: f64) -> Vec<u64> {
    let fractions: Vec<(u64, u64)> = intervals.iter().map(|interval| approximate(interval / reference)).collect();
    // Denominators divide 384, and so does their least common multiple.
    let common = fractions.iter().fold(1, |common, &(_, denominator)| common / gcd(common, denominator) * denominator);
    fractions.iter().map(|&(numerator, denominator)| numerator.saturating_mul(common / denominator)).collect()
}

/// An error unless the onsets are finite and ascend.
pub(crate) fn check(onsets: &[f64]) -> Result<()> {
    let mut before = f64::NEG_INFINITY;
    for (index, &found) in onsets.iter().enumerate() {
        if !found.is_finite() || found <= before {
            return Err(EventsError::Onsets { index, found, before });
        }
        before = found;
    }
    Ok(())
}
