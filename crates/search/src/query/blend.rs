//! Numbers that take part in the order, such as a popularity, a collaborative score or the length.
//!
//! The score and each column are standardised over the rows that the search compares: less their mean, divided by their
//! standard deviation. An unknown value counts as the mean, so that it neither helps nor hurts.

use fixedbitset::FixedBitSet;

use super::options::Blend;
use super::ranking::Candidate;
use crate::catalogue::ColumnKind;
use crate::filter::Subject;
use crate::{Catalogue, Result, SearchError};

/// Standardised columns with their weights.
pub(super) struct Blended {
    /// For each column its weight and a value for each track.
    columns: Vec<(f64, Vec<f64>)>,
    /// The weight of the score.
    rest: f64,
}

impl Blended {
    /// The columns of `blends`, standardised over `tracks`.
    pub(super) fn new(catalogue: &Catalogue, blends: &[Blend], tracks: &FixedBitSet) -> Result<Self> {
        let invalid = |reason: String| Err(SearchError::Query(format!("invalid blend: {reason}")));
        let used: f64 = blends.iter().map(|blend| blend.weight.abs()).sum();
        if used.is_nan() || used > 1.0 {
            return invalid(format!("expected weights whose sizes sum to at most 1, found {used}"));
        }
        let mut columns = Vec::with_capacity(blends.len());
        for Blend { column: name, weight } in blends {
            let subject = Subject::named(catalogue, name)
                .map_err(|reason| SearchError::Query(format!("invalid blend: {reason}")))?;
            if subject.kind() != ColumnKind::Number {
                return invalid(format!("`{}` holds texts, and a blend needs numbers", subject.name()));
            }
            let column = match &subject {
                Subject::Column(name, _) => Some(catalogue.column(name)?),
                _ => None,
            };
            let number = |track: usize| match &column {
                Some(column) => column.number(track),
                None => Some(catalogue.track(track).duration),
            };
            let known: Vec<f64> = tracks.ones().filter_map(number).collect();
            let standard = Standard::of(&known);
            let mut values = vec![0.0; catalogue.tracks()];
            for track in tracks.ones() {
                if let Some(number) = number(track) {
                    values[track] = standard.apply(number);
                }
            }
            columns.push((*weight, values));
        }
        Ok(Blended { columns, rest: 1.0 - used })
    }

    /// Replaces the scores of `candidates`, all that are compared, by blended ones, and ranks them again.
    pub(super) fn apply(&self, candidates: &mut [Candidate]) {
        // Sums in the order of rows, so that the blended scores do not depend on the ranking.
        candidates.sort_by_key(|candidate| candidate.track);
        let scores: Vec<f64> = candidates.iter().map(|candidate| candidate.score).collect();
        let standard = Standard::of(&scores);
        for candidate in candidates.iter_mut() {
            let columns = self.columns.iter().map(|(weight, values)| weight * values[candidate.track]);
            candidate.score = self.rest * standard.apply(candidate.score) + columns.sum::<f64>();
        }
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
}

/// A mean and a standard deviation.
struct Standard {
    mean: f64,
    deviation: f64,
}

impl Standard {
    /// Those of `values`: the deviation of the population.
    fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
        Standard { mean, deviation: variance.sqrt() }
    }

    /// A value less the mean, in deviations; 0 if all values are the same.
    fn apply(&self, value: f64) -> f64 {
        if self.deviation > 0.0 { (value - self.mean) / self.deviation } else { 0.0 }
    }
}
