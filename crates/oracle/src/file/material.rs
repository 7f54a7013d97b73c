//! What an oracle is built from, and the rule of its matches.

use mert_events::Event;
use mert_events::scale::FeatureScales;
use serde::{Deserialize, Serialize};

use crate::{
    Distance, EventRule, FactorOracle, Grid, Links, OracleError, Result, SuffixMethod, Symbols, ThresholdSearch,
    TokenMatch, Vectors, threshold_search,
};

/// The events of a memory, in one of three forms.
#[derive(Debug, Clone, PartialEq)]
pub enum Material {
    /// Symbols, such as tokens without sound.
    Symbols(Vec<u32>),
    /// Vectors of one length.
    Vectors(Vec<Vec<f64>>),
    /// Events of recordings.
    Events(Vec<Event>),
}

/// The rule by which events match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", deny_unknown_fields)]
pub enum Matching {
    /// Equal symbols.
    Symbols,
    /// Vectors nearer than a threshold.
    Vectors {
        /// The distance.
        distance: Distance,
        /// The threshold θ, which is not itself near.
        threshold: f64,
        /// The choice among several matches.
        suffix_method: SuffixMethod,
    },
    /// Events with matching tokens and near features.
    Events {
        /// The match of tokens.
        token: TokenMatch,
        /// The names of the features that are compared; none to compare tokens only.
        compared: Vec<String>,
        /// The scales of all features.
        scales: FeatureScales,
        /// The threshold θ₂ of the scaled features.
        threshold: f64,
        /// The choice among several matches.
        suffix_method: SuffixMethod,
    },
}

impl Material {
    /// The number of events.
    pub fn len(&self) -> usize {
        match self {
            Material::Symbols(symbols) => symbols.len(),
            Material::Vectors(vectors) => vectors.len(),
            Material::Events(events) => events.len(),
        }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events, if they are of recordings.
    pub fn events(&self) -> Option<&[Event]> {
        match self {
            Material::Events(events) => Some(events),
            _ => None,
        }
    }

    /// The token of an event: its symbol, or nothing for vectors.
    pub fn token(&self, event: usize) -> Option<u32> {
        match self {
            Material::Symbols(symbols) => symbols.get(event).copied(),
            Material::Vectors(_) => None,
            Material::Events(events) => events.get(event).map(|event| event.token),
        }
    }

    /// The name of the field in the JSON form.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Material::Symbols(_) => "symbols",
            Material::Vectors(_) => "vectors",
            Material::Events(_) => "events",
        }
    }
}

impl Matching {
    /// True if the matches depend on a threshold.
    pub fn has_threshold(&self) -> bool {
        match self {
            Matching::Symbols => false,
            Matching::Vectors { .. } => true,
            Matching::Events { compared, token, .. } => !compared.is_empty() || *token != TokenMatch::Same,
        }
    }

    /// The links of a memory by this rule.
    ///
    /// # Errors
    /// [`OracleError::Field`] for a rule of another form than the memory's, and the errors of building.
    pub fn build(&self, material: &Material) -> Result<Links> {
        let links = match (self, material) {
            (Matching::Symbols, Material::Symbols(symbols)) => {
                FactorOracle::build(Symbols::new(), symbols.iter())?.into_links()
            }
            (Matching::Vectors { distance, threshold, suffix_method }, Material::Vectors(vectors)) => {
                let rule = Vectors::new(*distance, *threshold)?;
                FactorOracle::build_with(rule, *suffix_method, vectors.iter().map(Vec::as_slice))?.into_links()
            }
            (Matching::Events { token, compared, scales, threshold, suffix_method }, Material::Events(events)) => {
                let rule = EventRule::new(token.clone(), compared, scales.clone(), *threshold)?;
                FactorOracle::build_with(rule, *suffix_method, events.iter())?.into_links()
            }
            _ => return Err(OracleError::field("match.rule", material.field(), self.name())),
        };
        Ok(links)
    }

    /// The rule with another threshold: θ of vectors, θ₂ of events.
    pub fn with_threshold(&self, value: f64) -> Self {
        let mut matching = self.clone();
        match &mut matching {
            Matching::Symbols => {}
            Matching::Vectors { threshold, .. } | Matching::Events { threshold, .. } => *threshold = value,
        }
        matching
    }

    /// The search for the threshold with the most information rate, see [`threshold_search`].
    ///
    /// # Errors
    /// As [`threshold_search`] and [`Matching::build`].
    pub fn search_threshold(&self, material: &Material, grid: Grid, alpha: f64) -> Result<ThresholdSearch> {
        threshold_search(grid, alpha, |threshold| self.with_threshold(threshold).build(material))
    }

    fn name(&self) -> &'static str {
        match self {
            Matching::Symbols => "symbols",
            Matching::Vectors { .. } => "vectors",
            Matching::Events { .. } => "events",
        }
    }
}
