//! The match of tokens: the same name, or centres of the vocabulary that lie near each other.

use serde::{Deserialize, Serialize};

use super::vectors::check_threshold;
use crate::{OracleError, Result};

/// Pairs of different tokens whose centres are nearer than a threshold, with their distances.
///
/// An oracle file keeps the pairs of its own tokens, so that it is rebuilt without the vocabulary.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NearTokens {
    pairs: Vec<(u32, u32, f64)>,
}

/// The rule by which tokens match. A token is a name: its number is not compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenMatch {
    /// The same token.
    #[default]
    Same,
    /// The same token, or centres nearer than a threshold.
    Near {
        /// The threshold θ₁, in the distance of the vocabulary.
        threshold: f64,
        /// The pairs that are nearer.
        pairs: NearTokens,
    },
}

impl NearTokens {
    /// The pairs among these tokens, by the distance of their centres.
    pub fn among(tokens: &[u32], threshold: f64, distance: impl Fn(u32, u32) -> f64) -> Self {
        let mut tokens = tokens.to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        let mut pairs = Vec::new();
        for (at, &left) in tokens.iter().enumerate() {
            for &right in &tokens[at + 1..] {
                let found = distance(left, right);
                if found < threshold {
                    pairs.push((left, right, found));
                }
            }
        }
        NearTokens { pairs }
    }

    /// The distance of two tokens' centres, 0 for a token itself, `None` if they are not near.
    pub fn distance(&self, left: u32, right: u32) -> Option<f64> {
        if left == right {
            return Some(0.0);
        }
        let wanted = (left.min(right), left.max(right));
        let found = self.pairs.binary_search_by_key(&wanted, |pair| (pair.0, pair.1)).ok()?;
        Some(self.pairs[found].2)
    }

    /// The pairs, ascending, the lower token first.
    pub fn pairs(&self) -> &[(u32, u32, f64)] {
        &self.pairs
    }
}

impl TokenMatch {
    /// The check of a rule that was read.
    pub(super) fn check(&self) -> Result<()> {
        let TokenMatch::Near { threshold, pairs } = self else { return Ok(()) };
        check_threshold("threshold of tokens", *threshold)?;
        let ascending = pairs.pairs.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1));
        let ordered = pairs.pairs.iter().all(|pair| pair.0 < pair.1 && pair.2 >= 0.0 && pair.2 < *threshold);
        if ascending && ordered {
            return Ok(());
        }
        let expected = "pairs in ascending order, the lower token first, with distances below the threshold";
        Err(OracleError::option("pairs of near tokens", "out of order or range", expected))
    }

    /// The distance of two tokens that match.
    pub(super) fn distance(&self, left: u32, right: u32) -> Option<f64> {
        match self {
            TokenMatch::Same => (left == right).then_some(0.0),
            TokenMatch::Near { pairs, .. } => pairs.distance(left, right),
        }
    }
}
