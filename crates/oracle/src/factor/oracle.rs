//! The oracle: links together with the events that they were built from.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

use super::{Links, MatchRule};
use crate::Result;

/// The choice of a suffix link among several matches, with vmo's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SuffixMethod {
    /// The first match on the walk over suffix links: constant time on average.
    #[default]
    #[serde(rename = "inc")]
    Incremental,
    /// The nearest match on the whole walk: as many steps as the chain of suffix links is long, for each event.
    #[serde(rename = "complete")]
    Complete,
}

/// A factor oracle that grows event by event.
#[derive(Debug, Clone)]
pub struct FactorOracle<R> {
    links: Links,
    rule: R,
    method: SuffixMethod,
}

impl<R: MatchRule> FactorOracle<R> {
    /// An oracle with state 0 alone.
    pub fn new(rule: R, method: SuffixMethod) -> Self {
        FactorOracle { links: Links::new(), rule, method }
    }

    /// An oracle of a whole sequence, with the first match.
    ///
    /// # Errors
    /// As [`FactorOracle::add`].
    pub fn build<I>(rule: R, items: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Borrow<R::Item>,
    {
        FactorOracle::build_with(rule, SuffixMethod::Incremental, items)
    }

    /// An oracle of a whole sequence.
    ///
    /// # Errors
    /// As [`FactorOracle::add`].
    pub fn build_with<I>(rule: R, method: SuffixMethod, items: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Borrow<R::Item>,
    {
        let mut oracle = FactorOracle::new(rule, method);
        for item in items {
            oracle.add(item.borrow())?;
        }
        Ok(oracle)
    }

    /// Adds an event and returns its state.
    ///
    /// # Errors
    /// [`crate::OracleError::TooLong`], or what the rule refuses, such as a vector of another length.
    pub fn add(&mut self, item: &R::Item) -> Result<u32> {
        self.rule.push(item)?;
        self.links.add(&self.rule, self.method)
    }

    /// The links by state.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The rule, with the events that it keeps.
    pub fn rule(&self) -> &R {
        &self.rule
    }

    /// The links without the events.
    pub fn into_links(self) -> Links {
        self.links
    }
}
