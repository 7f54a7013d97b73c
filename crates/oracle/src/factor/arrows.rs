//! The arrows of an oracle, in flat arrays: a state's own list costs no allocation, and a long list has an index by symbol.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// The mark for "none" in arrays of states.
pub(super) const NONE: u32 = u32::MAX;

/// The length of a list from which it is found by an index: state 0 has an arrow for each symbol.
pub(super) const INDEXED_FROM: u32 = 8;

/// A factor arrow, with what a walk along a list reads in one place.
#[derive(Debug, Clone, Copy)]
struct Arrow {
    target: u32,
    next: u32,
    symbol: u32,
}

/// The arrows of a state.
#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    count: u32,
}

/// The arrows. That from a state to the next is not stored; the others, fewer than states, are in linked lists.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrows {
    lists: Vec<List>,
    arrows: Vec<Arrow>,
    index: HashMap<(u32, u32), u32, RandomState>,
}

impl Arrows {
    pub(super) fn push_state(&mut self) {
        self.lists.push(List { head: NONE, tail: NONE, count: 0 });
    }

    /// The number of arrows that do not lead to the next state.
    pub(super) fn factor_arrows(&self) -> usize {
        self.arrows.len()
    }

    /// Adds a factor arrow. With the symbol of the target, a long list is indexed by it.
    pub(super) fn push(&mut self, from: u32, target: u32, symbol: Option<u32>) {
        let added = self.arrows.len() as u32;
        self.arrows.push(Arrow { target, next: NONE, symbol: symbol.unwrap_or(NONE) });
        let list = &mut self.lists[from as usize];
        match list.tail {
            NONE => list.head = added,
            last => self.arrows[last as usize].next = added,
        }
        list.tail = added;
        list.count += 1;
        let List { head, count, .. } = *list;
        let Some(symbol) = symbol else { return };
        if count == INDEXED_FROM {
            let mut at = head;
            while let Some(arrow) = self.arrows.get(at as usize) {
                self.index.insert((from, arrow.symbol), arrow.target);
                at = arrow.next;
            }
        } else if count > INDEXED_FROM {
            self.index.insert((from, symbol), target);
        }
    }

    /// The target of the factor arrow of a state with this symbol.
    pub(super) fn find(&self, from: u32, symbol: u32) -> Option<u32> {
        if self.lists[from as usize].count >= INDEXED_FROM {
            return self.index.get(&(from, symbol)).copied();
        }
        self.list(from).find(|arrow| arrow.symbol == symbol).map(|arrow| arrow.target)
    }

    /// The targets of the factor arrows of a state, ascending.
    pub(super) fn iter(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        self.list(from).map(|arrow| arrow.target)
    }

    fn list(&self, from: u32) -> impl Iterator<Item = Arrow> + '_ {
        let mut at = self.lists[from as usize].head;
        std::iter::from_fn(move || {
            let arrow = *self.arrows.get(at as usize)?;
            at = arrow.next;
            Some(arrow)
        })
    }
}
