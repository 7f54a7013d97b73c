//! Scales of features: quantiles of the memory, so that one threshold serves features of different units.

use mert_events::{Event, FEATURES};
use serde::{Deserialize, Serialize};

use crate::error::nearest_name;
use crate::{OracleError, Result};

/// The share of values below the low end and above the high end of a scale.
const TAIL: f64 = 0.05;

/// The pitch classes of an octave: `root` is a place on a circle, where B and C are neighbours.
const CIRCLE: f64 = 12.0;

/// A feature that an oracle compares, with the values that become 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureScale {
    /// The name of the feature, one of [`FEATURES`].
    pub name: String,
    /// The value that becomes 0; values below it too.
    pub low: f64,
    /// The value that becomes 1; values above it too.
    pub high: f64,
}

impl FeatureScale {
    /// The scale from the 5% to the 95% quantile (nearest rank) of a feature in these events; 0 to 1 if none has a value.
    ///
    /// # Errors
    /// [`OracleError::Feature`] for a name that is not a feature's.
    pub fn of(name: &str, events: &[Event]) -> Result<Self> {
        let at = feature_index(name)?;
        let mut values: Vec<f64> = events.iter().filter_map(|event| event.features[at]).collect();
        values.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share).round() as usize).copied();
        let (low, high) = (quantile(TAIL).unwrap_or(0.0), quantile(1.0 - TAIL).unwrap_or(1.0));
        Ok(FeatureScale { name: name.to_string(), low, high })
    }

    /// The index of the feature in [`FEATURES`], after a check of the ends.
    pub(super) fn index(&self) -> Result<usize> {
        if !(self.low <= self.high && self.low.is_finite() && self.high.is_finite()) {
            let found = format!("{} to {} of {}", self.low, self.high, self.name);
            return Err(OracleError::option("scale", found, "two finite numbers, the lower first"));
        }
        feature_index(&self.name)
    }

    /// The scaled value from 0 to 1; with equal ends 0 below, ½ at and 1 above them. `root` stays a pitch class.
    pub(super) fn scaled(&self, value: f64) -> f64 {
        if self.is_circular() {
            value
        } else if self.low == self.high {
            match value.total_cmp(&self.low) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 1.0,
            }
        } else {
            ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        }
    }

    /// The difference of two scaled values, 0 to 1: of pitch classes the shorter way round the circle, a tritone being 1.
    pub(super) fn difference(&self, left: f64, right: f64) -> f64 {
        let difference = (left - right).abs();
        if !self.is_circular() {
            return difference;
        }
        let difference = difference.rem_euclid(CIRCLE);
        difference.min(CIRCLE - difference) / (CIRCLE / 2.0)
    }

    fn is_circular(&self) -> bool {
        self.name == "root"
    }
}

/// The index of a feature in [`FEATURES`].
pub(crate) fn feature_index(name: &str) -> Result<usize> {
    FEATURES.iter().position(|feature| feature.name == name).ok_or_else(|| OracleError::Feature {
        found: name.to_string(),
        nearest: nearest_name(name, FEATURES.iter().map(|feature| feature.name)),
    })
}
