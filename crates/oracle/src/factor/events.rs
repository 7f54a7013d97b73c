//! Events that match if their tokens do and their scaled features are near.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use mert_events::scale::FeatureScales;
use mert_events::{Event, FEATURES};

use super::rule::{Match, MatchRule};
use super::vectors::check_threshold;
use super::{Links, TokenMatch};
use crate::error::nearest_name;
use crate::{OracleError, Result};

/// Events that match if their tokens match **and** the distance of their scaled features is strictly below θ₂.
///
/// The distance is [`FeatureScales::distance`], with the features that are not compared taken as missing in both. Of several
/// matches the nearest by features counts, then by centres. Without compared features only tokens are.
#[derive(Debug, Clone)]
pub struct EventRule {
    token: TokenMatch,
    scales: FeatureScales,
    compared: [bool; FEATURES.len()],
    threshold: f64,
    tokens: Vec<u32>,
    features: Vec<[Option<f64>; FEATURES.len()]>,
    numbers: HashMap<u32, u32, RandomState>,
}

impl EventRule {
    /// A rule without events yet, which compares the features of these names.
    ///
    /// # Errors
    /// [`OracleError::Feature`] for an unknown name, [`OracleError::Option`] for a threshold out of range.
    pub fn new(token: TokenMatch, compared: &[String], scales: FeatureScales, threshold: f64) -> Result<Self> {
        token.check()?;
        check_threshold("threshold of features", threshold)?;
        let mut mask = [false; FEATURES.len()];
        for name in compared {
            mask[feature_index(name)?] = true;
        }
        let (tokens, features, numbers) = (Vec::new(), Vec::new(), HashMap::default());
        Ok(EventRule { token, scales, compared: mask, threshold, tokens, features, numbers })
    }

    fn compares_features(&self) -> bool {
        self.compared.contains(&true)
    }
}

/// The index of a feature in [`FEATURES`].
fn feature_index(name: &str) -> Result<usize> {
    FEATURES.iter().position(|feature| feature.name == name).ok_or_else(|| OracleError::Feature {
        found: name.to_string(),
        nearest: nearest_name(name, FEATURES.iter().map(|feature| feature.name)),
    })
}

impl MatchRule for EventRule {
    type Item = Event;

    fn push(&mut self, event: &Event) -> Result<()> {
        self.tokens.push(event.token);
        let next = self.numbers.len() as u32;
        self.numbers.entry(event.token).or_insert(next);
        if self.compares_features() {
            let mut scaled = self.scales.scale(event);
            for (value, compared) in scaled.iter_mut().zip(self.compared) {
                *value = value.filter(|_| compared);
            }
            self.features.push(scaled);
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
            let features = match (self.features.get(newest), self.features.get(event)) {
                (Some(newest), Some(event)) => self.scales.distance(newest, event),
                _ => 0.0,
            };
            let near = !self.compares_features() || features < self.threshold;
            if near && best.is_none_or(|best| (features, centres) < best.distance) {
                best = Some(Match { target, distance: (features, centres) });
            }
        }
        best
    }

    fn symbol(&self) -> Option<u32> {
        let names_only = !self.compares_features() && self.token == TokenMatch::Same;
        if names_only { self.numbers.get(self.tokens.last()?).copied() } else { None }
    }
}
