//! The links of an oracle by state, whatever its events are: all that analysis and navigation need.

use super::arrows::{Arrows, NONE};
use super::reverse::ReverseLinks;
use super::rule::Match;
use super::suffixes::Suffixes;
use super::{MatchRule, SuffixMethod};
use crate::{OracleError, Result};

/// The links of an oracle. State 0 is empty; state i > 0 belongs to event i - 1 of the memory.
#[derive(Debug, Clone)]
pub struct Links {
    suffixes: Suffixes,
    arrows: Arrows,
    reverse: ReverseLinks,
    symbols: Vec<u32>,
    clusters: u32,
}

/// The states of each cluster, in one array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    starts: Vec<u32>,
    states: Vec<u32>,
}

impl Links {
    pub(super) fn new() -> Self {
        let mut links = Links {
            suffixes: Suffixes::default(),
            arrows: Arrows::default(),
            reverse: ReverseLinks::default(),
            symbols: vec![NONE],
            clusters: 0,
        };
        links.suffixes.push_root();
        links.arrows.push_state();
        links.reverse.push_state();
        links
    }

    /// The number of states, one more than events.
    pub fn states(&self) -> u32 {
        self.suffixes.states()
    }

    /// The number of events.
    pub fn events(&self) -> u32 {
        self.states() - 1
    }

    /// The suffix link of a state; `None` for state 0.
    ///
    /// # Panics
    /// If there is no such state, as all methods that take a state.
    pub fn sfx(&self, state: u32) -> Option<u32> {
        Some(self.suffixes.link(state)).filter(|link| *link != NONE)
    }

    /// The length of the repeated suffix of a state, in events: a lower bound of the longest.
    pub fn lrs(&self, state: u32) -> u32 {
        self.suffixes.length(state)
    }

    /// The targets of a state's arrows, ascending: the next state first.
    pub fn trn(&self, state: u32) -> impl Iterator<Item = u32> + '_ {
        let next = (state + 1 < self.states()).then_some(state + 1);
        next.into_iter().chain(self.arrows.iter(state))
    }

    /// The states whose suffix link is this state, ascending.
    pub fn rsfx(&self, state: u32) -> impl Iterator<Item = u32> + '_ {
        self.reverse.iter(state)
    }

    /// The cluster of a state, numbered by first appearance; `None` for state 0.
    pub fn sym(&self, state: u32) -> Option<u32> {
        Some(self.symbols[state as usize]).filter(|symbol| *symbol != NONE)
    }

    /// The number of arrows, fewer than twice the events.
    pub fn arrows(&self) -> usize {
        self.events() as usize + self.arrows.factor_arrows()
    }

    /// The number of clusters, which is that of the states that link to state 0.
    pub fn cluster_count(&self) -> u32 {
        self.reverse.count(0)
    }

    /// The states of each cluster.
    pub fn clusters(&self) -> Clusters {
        let count = self.clusters as usize;
        let mut starts = vec![0u32; count + 1];
        for symbol in &self.symbols[1..] {
            starts[*symbol as usize + 1] += 1;
        }
        for cluster in 0..count {
            starts[cluster + 1] += starts[cluster];
        }
        let mut end = starts.clone();
        let mut states = vec![0; self.events() as usize];
        for (state, symbol) in self.symbols.iter().enumerate().skip(1) {
            let place = &mut end[*symbol as usize];
            states[*place as usize] = state as u32;
            *place += 1;
        }
        Clusters { starts, states }
    }

    /// The target of a state's arrow with this symbol.
    pub(super) fn target(&self, state: u32, symbol: u32) -> Option<u32> {
        if self.symbols.get(state as usize + 1) == Some(&symbol) {
            return Some(state + 1);
        }
        self.arrows.find(state, symbol)
    }

    /// Adds a state for the event that was last pushed to the rule.
    pub(super) fn add<R: MatchRule>(&mut self, rule: &R, method: SuffixMethod) -> Result<u32> {
        let new = self.states();
        if new >= NONE - 1 {
            return Err(OracleError::TooLong { limit: NONE - 2 });
        }
        let known = rule.symbol();
        self.arrows.push_state();
        self.reverse.push_state();
        if let Some(symbol) = known {
            self.symbols.push(symbol);
        }
        let mut unmatched = new - 1;
        let mut state = self.suffixes.link(new - 1);
        let mut best: Option<Match> = None;
        while state != NONE {
            match rule.find(self, state) {
                None => {
                    self.arrows.push(state, new, known);
                    unmatched = state;
                }
                Some(found) => {
                    if best.is_none_or(|best| found.distance < best.distance) {
                        best = Some(found);
                    }
                    // Of equal symbols the first match is the nearest, and all shorter suffixes match too.
                    if method == SuffixMethod::Incremental || known.is_some() {
                        break;
                    }
                }
            }
            state = self.suffixes.link(state);
        }
        let (mut link, mut length) = (0, 0);
        if let Some(found) = best {
            link = found.target;
            length = self.suffixes.common(unmatched, link - 1) + 1;
        }
        if known.is_none() {
            let symbol = if best.is_some() { self.symbols[link as usize] } else { self.clusters };
            self.symbols.push(symbol);
        }
        self.clusters = self.clusters.max(self.symbols[new as usize] + 1);
        if length > 0 {
            let wanted = (length, self.symbol_before(new, length));
            if let Some(better) = self.reverse.find(link, wanted, |state| self.reverse_key(state)) {
                link = better;
                length += 1;
            }
        }
        self.suffixes.push(link, length);
        let (suffixes, symbols) = (&self.suffixes, &self.symbols);
        self.reverse.push(link, new, |state| {
            let length = suffixes.length(state);
            (length, before(symbols, state, length))
        });
        Ok(new)
    }

    fn reverse_key(&self, state: u32) -> (u32, u32) {
        let length = self.lrs(state);
        (length, self.symbol_before(state, length))
    }

    fn symbol_before(&self, state: u32, length: u32) -> u32 {
        before(&self.symbols, state, length)
    }
}

/// The symbol before the suffix of this length, [`NONE`] at the start of the sequence.
fn before(symbols: &[u32], state: u32, length: u32) -> u32 {
    state.checked_sub(length).map_or(NONE, |state| symbols[state as usize])
}

impl Clusters {
    /// The number of clusters.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The states of a cluster, ascending; empty if there is no such cluster.
    pub fn states(&self, cluster: u32) -> &[u32] {
        let at = cluster as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.states[*start as usize..*end as usize],
            _ => &[],
        }
    }
}
