//! Features on common scales, so that a distance between events does not depend on units.

mod quantile;

use serde::{Deserialize, Serialize};

use self::quantile::quantile;
use crate::{Event, EventsError, FEATURES, Result};

/// The number of features.
const COUNT: usize = FEATURES.len();

/// The scaling and comparison of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scale", rename_all = "lowercase", deny_unknown_fields)]
pub enum Scale {
    /// A quantity: `low` becomes 0 and `high` 1, and what is beyond them is clamped. If both are equal, values below are 0,
    /// equal ones 0.5 and values above 1.
    Quantile {
        /// The lower quantile of the training events.
        low: f64,
        /// The upper quantile of the training events.
        high: f64,
    },
    /// A place on a circle, such as a pitch class: the value over the period, compared the short way round. Half of the way
    /// round is a distance of 1.
    Circle {
        /// The length of the circle.
        period: f64,
    },
    /// A name: equal or not, a distance of 0 or 1.
    Name,
}

/// The scale of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureScale {
    /// The name of the feature.
    pub name: String,
    /// The scale.
    #[serde(flatten)]
    pub scale: Scale,
    /// The number of training events that have the feature. With 0 of them the scale says nothing.
    pub events: u64,
}

/// The scales of all [`FEATURES`], in their order. They serialise as a list with names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<FeatureScale>", into = "Vec<FeatureScale>")]
pub struct FeatureScales(Vec<FeatureScale>);

impl FeatureScales {
    /// The scales of training events, from their quantiles `low` and `high`, such as 0.05 and 0.95. The root is a circle of
    /// 12, polarity and pulse are names. A feature that no event has is scaled from 0 to 1.
    ///
    /// # Errors
    /// [`EventsError::Setting`] unless 0 ≤ low < high ≤ 1.
    pub fn of(events: &[Event], low: f64, high: f64) -> Result<Self> {
        EventsError::check_range("lower quantile", low, 0.0, 1.0)?;
        EventsError::check_range("upper quantile", high, low, 1.0)?;
        if low == high {
            let expected = format!("a number above the lower quantile, {low}");
            return Err(EventsError::Setting { name: "upper quantile", found: high.to_string(), expected });
        }
        let scale = |index: usize, name: &str| {
            let mut values: Vec<f64> =
                events.iter().filter_map(|event| event.features[index]).filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let scale = match name {
                "root" => Scale::Circle { period: 12.0 },
                "polarity" | "pulse" => Scale::Name,
                _ => Scale::Quantile {
                    low: quantile(&values, low).unwrap_or(0.0),
                    high: quantile(&values, high).unwrap_or(1.0),
                },
            };
            FeatureScale { name: name.to_string(), scale, events: values.len() as u64 }
        };
        Ok(FeatureScales(FEATURES.iter().enumerate().map(|(index, feature)| scale(index, feature.name)).collect()))
    }

    /// The scale of each feature.
    pub fn scales(&self) -> &[FeatureScale] {
        &self.0
    }

    /// The scaled features of an event: quantities and circles from 0 to 1, names as they are; `None` where the event has no
    /// value.
    pub fn scale(&self, event: &Event) -> [Option<f64>; COUNT] {
        std::array::from_fn(|index| event.features[index].map(|value| self.0[index].scale.of(value)))
    }

    /// The distance between scaled features, 0 to 1: the root of the mean over all features of the squared differences, each
    /// of which is 0 to 1. Where both values are missing the difference is 0, where one is, 1, as if missing were a name.
    /// With that it is a metric.
    pub fn distance(&self, a: &[Option<f64>; COUNT], b: &[Option<f64>; COUNT]) -> f64 {
        let squares = self.0.iter().zip(a.iter().zip(b)).map(|(feature, pair)| {
            let difference = match pair {
                (Some(a), Some(b)) => feature.scale.difference(*a, *b),
                (None, None) => 0.0,
                _ => 1.0,
            };
            difference * difference
        });
        (squares.sum::<f64>() / COUNT as f64).sqrt()
    }
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Scale::Quantile { low, high } if high > low => ((value - low) / (high - low)).clamp(0.0, 1.0),
            Scale::Quantile { low, .. } => match value.total_cmp(&low) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 1.0,
            },
            Scale::Circle { period } => value.rem_euclid(period) / period,
            Scale::Name => value,
        }
    }

    /// The difference of two scaled values, 0 to 1.
    fn difference(self, a: f64, b: f64) -> f64 {
        match self {
            Scale::Quantile { .. } => (a - b).abs(),
            Scale::Circle { .. } => {
                let way = (a - b).abs();
                2.0 * way.min(1.0 - way)
            }
            Scale::Name => f64::from(u8::from(a != b)),
        }
    }

    /// The fault of the numbers of a scale, if there is one.
    fn problem(self) -> Option<String> {
        match self {
            Scale::Quantile { low, high } if !(low.is_finite() && high.is_finite() && low <= high) => {
                Some(format!("its quantiles are {low} and {high}, expected two finite numbers in ascending order"))
            }
            Scale::Circle { period } if !(period.is_finite() && period > 0.0) => {
                Some(format!("its period is {period}, expected a number above 0"))
            }
            _ => None,
        }
    }
}

impl TryFrom<Vec<FeatureScale>> for FeatureScales {
    type Error = String;

    fn try_from(scales: Vec<FeatureScale>) -> Result<Self, String> {
        for (index, feature) in FEATURES.iter().enumerate() {
            let expected = feature.name;
            let Some(scale) = scales.get(index) else {
                return Err(format!("the feature `{expected}` is missing: write the file again with this version"));
            };
            if scale.name != expected {
                let found = &scale.name;
                return Err(format!(
                    "feature {index} is `{found}`, expected `{expected}`: write the file again with this version"
                ));
            }
            if let Some(problem) = scale.scale.problem() {
                return Err(format!("the scale of `{expected}`: {problem}"));
            }
        }
        match scales.get(COUNT) {
            Some(extra) => Err(format!("unknown feature `{}`: the file is of a newer version", extra.name)),
            None => Ok(FeatureScales(scales)),
        }
    }
}

impl From<FeatureScales> for Vec<FeatureScale> {
    fn from(scales: FeatureScales) -> Self {
        scales.0
    }
}

#[cfg(test)]
mod tests;
