//! Reverse suffix links: the states that link to a state, ascending, in flat arrays with an index for long lists.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::arrows::{INDEXED_FROM, NONE};

/// The key by which a better suffix link is found: the state linked to, the length of the suffix, the symbol before the suffix.
type Key = (u32, u32, u32);

/// The lists of states by the state that they link to.
#[derive(Debug, Clone, Default)]
pub(super) struct ReverseLinks {
    first: Vec<u32>,
    last: Vec<u32>,
    count: Vec<u32>,
    sibling: Vec<u32>,
    index: HashMap<Key, u32, RandomState>,
}

impl ReverseLinks {
    pub(super) fn push_state(&mut self) {
        self.first.push(NONE);
        self.last.push(NONE);
        self.count.push(0);
        self.sibling.push(NONE);
    }

    /// Adds a state to the list of the state that it links to. `key` gives the length and the symbol before it of a state.
    pub(super) fn push(&mut self, to: u32, from: u32, key: impl Fn(u32) -> (u32, u32)) {
        let state = to as usize;
        match self.last[state] {
            NONE => self.first[state] = from,
            last => self.sibling[last as usize] = from,
        }
        self.last[state] = from;
        self.count[state] += 1;
        if self.count[state] == INDEXED_FROM {
            let mut child = self.first[state];
            while child != NONE {
                let (length, symbol) = key(child);
                self.index.entry((to, length, symbol)).or_insert(child);
                child = self.sibling[child as usize];
            }
        } else if self.count[state] > INDEXED_FROM {
            let (length, symbol) = key(from);
            self.index.entry((to, length, symbol)).or_insert(from);
        }
    }

    /// The first state of a list with this length and this symbol before the suffix.
    pub(super) fn find(&self, to: u32, wanted: (u32, u32), key: impl Fn(u32) -> (u32, u32)) -> Option<u32> {
        if self.count[to as usize] >= INDEXED_FROM {
            return self.index.get(&(to, wanted.0, wanted.1)).copied();
        }
        self.iter(to).find(|child| key(*child) == wanted)
    }

    /// The number of states that link to a state.
    pub(super) fn count(&self, to: u32) -> u32 {
        self.count[to as usize]
    }

    /// The states that link to a state, ascending.
    pub(super) fn iter(&self, to: u32) -> impl Iterator<Item = u32> + '_ {
        let mut child = self.first[to as usize];
        std::iter::from_fn(move || {
            let found = (child != NONE).then_some(child)?;
            child = self.sibling[found as usize];
            Some(found)
        })
    }
}
