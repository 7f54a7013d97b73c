//! Distances between vectors, by SciPy's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{OracleError, Result};

/// A distance, as `scipy.spatial.distance` defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// √Σ(a - b)².
    #[default]
    Euclidean,
    /// Σ(a - b)².
    SqEuclidean,
    /// 1 - a·b / (|a| |b|); NaN, and so never a match, with a vector of zeros.
    Cosine,
    /// The cosine distance of the vectors less their means.
    Correlation,
    /// Σ|a - b|.
    CityBlock,
    /// max |a - b|.
    Chebyshev,
    /// Σ|a - b| / (|a| + |b|), where 0/0 is 0.
    Canberra,
    /// Σ|a - b| / Σ|a + b|.
    BrayCurtis,
}

impl Distance {
    /// The names of all distances.
    pub const NAMES: [&'static str; 8] =
        ["euclidean", "sqeuclidean", "cosine", "correlation", "cityblock", "chebyshev", "canberra", "braycurtis"];

    const ALL: [Distance; 8] = [
        Distance::Euclidean,
        Distance::SqEuclidean,
        Distance::Cosine,
        Distance::Correlation,
        Distance::CityBlock,
        Distance::Chebyshev,
        Distance::Canberra,
        Distance::BrayCurtis,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The distance of two vectors of one length; NaN if a value is NaN.
    pub fn between(self, left: &[f64], right: &[f64]) -> f64 {
        let pairs = || left.iter().copied().zip(right.iter().copied());
        match self {
            Distance::SqEuclidean => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
            Distance::Euclidean => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
            Distance::CityBlock => pairs().map(|(a, b)| (a - b).abs()).sum(),
            // f64::max drops NaN.
            Distance::Chebyshev => pairs()
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, |largest, value| if value > largest || value.is_nan() { value } else { largest }),
            Distance::Canberra => pairs()
                .map(|(a, b)| (a - b).abs() / (a.abs() + b.abs()))
                .zip(pairs())
                .fold(0.0, |sum, (value, (a, b))| if a == 0.0 && b == 0.0 { sum } else { sum + value }),
            Distance::BrayCurtis => {
                pairs().map(|(a, b)| (a - b).abs()).sum::<f64>() / pairs().map(|(a, b)| (a + b).abs()).sum::<f64>()
            }
            Distance::Cosine => cosine(pairs()),
            Distance::Correlation => {
                let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
                let (left_mean, right_mean) = (mean(left), mean(right));
                cosine(pairs().map(|(a, b)| (a - left_mean, b - right_mean)))
            }
        }
    }
}

fn cosine(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut product, mut left, mut right) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        product += a * b;
        left += a * a;
        right += b * b;
    }
    let similarity: f64 = product / (left.sqrt() * right.sqrt());
    if similarity.is_nan() { similarity } else { 1.0 - similarity.clamp(-1.0, 1.0) }
}

impl fmt::Display for Distance {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Distance {
    type Err = OracleError;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|distance| distance.name() == name);
        found.ok_or_else(|| OracleError::Distance { found: name.to_string() })
    }
}
