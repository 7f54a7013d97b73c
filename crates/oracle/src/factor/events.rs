//! Events that match if their tokens do and their scaled features are near.

use std::collections::HashMap;

use mert_events::Event;

use super::rule::{Match, MatchRule};
use super::vectors::check_threshold;
use super::{FeatureScale, Links, TokenMatch};
use crate::Result;

/// The difference that counts where one of two events lacks a feature: the whole scale. Where both lack it, it is 0. With
/// this, the distance stays a metric.
const MISSING: f64 = 1.0;

/// Events that match if their tokens match **and** the Euclidean distance of their scaled features is strictly below θ₂.
///
/// Of several matches the nearest by features counts, then by centres. Without features only tokens are compared.
#[derive(Debug, Clone)]
pub struct EventRule {
    token: TokenMatch,
    features: Vec<(usize, FeatureScale)>,
    threshold: f64,
    tokens: Vec<u32>,
    // NaN where a feature is missing.
    values: Vec<f64>,
    numbers: HashMap<u32, u32>,
}

impl EventRule {
    /// A rule without events yet. The threshold θ₂ is that of all scaled features together.
    ///
    /// # Errors
    /// [`crate::OracleError::Feature`] for an unknown name, [`crate::OracleError::Option`] for a threshold or scale out of
    /// range.
    pub fn new(token: TokenMatch, features: Vec<FeatureScale>, threshold: f64) -> Result<Self> {
        token.check()?;
        check_threshold("threshold of features", threshold)?;
        let features = features.into_iter().map(|scale| Ok((scale.index()?, scale))).collect::<Result<Vec<_>>>()?;
        let (tokens, values, numbers) = (Vec::new(), Vec::new(), HashMap::new());
        Ok(EventRule { token, features, threshold, tokens, values, numbers })
    }

    fn row(&self, event: usize) -> &[f64] {
        let width = self.features.len();
        &self.values[event * width..(event + 1) * width]
    }

    /// The distance of the scaled features of two events.
    fn feature_distance(&self, left: usize, right: usize) -> f64 {
        let mut sum = 0.0;
        for ((_, scale), (&a, &b)) in self.features.iter().zip(self.row(left).iter().zip(self.row(right))) {
            let difference = match (a.is_nan(), b.is_nan()) {
                (true, true) => 0.0,
                (false, false) => scale.difference(a, b),
                _ => MISSING,
            };
            sum += difference * difference;
        }
        sum.sqrt()
    }
}

impl MatchRule for EventRule {
    type Item = Event;

    fn push(&mut self, event: &Event) -> Result<()> {
        self.tokens.push(event.token);
        let next = self.numbers.len() as u32;
        self.numbers.entry(event.token).or_insert(next);
        for (index, scale) in &self.features {
            self.values.push(event.features[*index].map_or(f64::NAN, |value| scale.scaled(value)));
        }
        Ok(())
    }

    fn find(&self, links: &Links, state: u32) -> Option<Match> {
        if let Some(symbol) = self.symbol() {
            return Some(Match { target: links.target(state, symbol)?, distance: (0.0, 0.0) });
        }
        let newest = self.tokens.len() - 1;
        let mut best: Option<Match> = None;
        for target in links.trn(state) {
            let event = target as usize - 1;
            let Some(centres) = self.token.distance(self.tokens[newest], self.tokens[event]) else { continue };
            let features = self.feature_distance(newest, event);
            let near = self.features.is_empty() || features < self.threshold;
            if near && best.is_none_or(|best| (features, centres) < best.distance) {
                best = Some(Match { target, distance: (features, centres) });
            }
        }
        best
    }

    fn symbol(&self) -> Option<u32> {
        let names_only = self.features.is_empty() && self.token == TokenMatch::Same;
        if names_only { self.numbers.get(self.tokens.last()?).copied() } else { None }
    }
}
