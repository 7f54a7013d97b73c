//! The rule by which events match, and that of symbols: equal or not.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Links;
use crate::Result;

/// A match of the newest event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// The state that matches.
    pub target: u32,
    /// The distance, compared in lexicographic order; zeros for symbols.
    pub distance: (f64, f64),
}

/// A rule that keeps the events of an oracle and finds matches among them.
pub trait MatchRule {
    /// An event.
    type Item: ?Sized;

    /// Keeps the event of the next state.
    ///
    /// # Errors
    /// If the event cannot be compared with those before it.
    fn push(&mut self, item: &Self::Item) -> Result<()>;

    /// The nearest match of the newest event among the targets of a state's arrows; of equally near ones the first.
    fn find(&self, links: &Links, state: u32) -> Option<Match>;

    /// The symbol of the newest event, numbered by first appearance, if the rule knows it without links: the match is equality.
    fn symbol(&self) -> Option<u32> {
        None
    }
}

/// Symbols that match if they are equal.
#[derive(Debug, Clone, Default)]
pub struct Symbols {
    symbols: Vec<u32>,
    numbers: HashMap<u32, u32, RandomState>,
}

impl Symbols {
    /// No symbols yet.
    pub fn new() -> Self {
        Symbols::default()
    }

    /// The symbols, by event.
    pub fn symbols(&self) -> &[u32] {
        &self.symbols
    }
}

impl MatchRule for Symbols {
    type Item = u32;

    fn push(&mut self, item: &u32) -> Result<()> {
        let next = self.numbers.len() as u32;
        self.numbers.entry(*item).or_insert(next);
        self.symbols.push(*item);
        Ok(())
    }

    fn find(&self, links: &Links, state: u32) -> Option<Match> {
        let target = links.target(state, self.symbol()?)?;
        Some(Match { target, distance: (0.0, 0.0) })
    }

    fn symbol(&self) -> Option<u32> {
        self.numbers.get(self.symbols.last()?).copied()
    }
}
