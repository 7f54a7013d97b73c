//! The states that share context with the current one, over suffix links up and reverse suffix links down.
//!
//! The common context of two states is the smallest lrs on the way between them, as in OMax (Assayag and Dubnov, "Using
//! factor oracles for machine improvisation", Soft Computing 8, 2004).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Links;

/// The links looked at for each jump that is wanted: a bound on the work of a step.
const LOOKED_AT: usize = 16;

/// A state to visit: the longest context first, then the lowest state. The last field is the state that it was reached from.
type Visit = (u32, Reverse<u32>, Reverse<u32>);

/// The search for states, with its memory kept from step to step.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    heap: BinaryHeap<Visit>,
}

impl Search {
    /// Calls `found` with states and their common context with `start`, longest first, at most `limit` times as `found`
    /// returns true. Returns whether states were left out.
    pub(super) fn run(
        &mut self,
        links: &Links,
        start: u32,
        min_context: u32,
        limit: usize,
        mut found: impl FnMut(u32, u32) -> bool,
    ) -> bool {
        self.heap.clear();
        let mut budget = limit.saturating_mul(LOOKED_AT);
        let mut kept = 0;
        let mut visit = (u32::MAX, Reverse(start), Reverse(start));
        loop {
            let (context, Reverse(state), Reverse(from)) = visit;
            if state != start && found(state, context) {
                kept += 1;
                if kept == limit {
                    return !self.heap.is_empty();
                }
            }
            // A state reached from below, and the start itself, lead on upwards.
            let upwards = state == start || links.sfx(from) == Some(state);
            let parent = links.sfx(state).filter(|parent| upwards && *parent != 0);
            if let Some(parent) = parent {
                self.push(links.lrs(state).min(context), parent, state, min_context);
            }
            for child in links.rsfx(state) {
                if budget == 0 {
                    break;
                }
                budget -= 1;
                if child != from {
                    self.push(links.lrs(child).min(context), child, state, min_context);
                }
            }
            match self.heap.pop() {
                Some(next) => visit = next,
                None => return budget == 0,
            }
        }
    }

    fn push(&mut self, context: u32, state: u32, from: u32, min_context: u32) {
        if context >= min_context {
            self.heap.push((context, Reverse(state), Reverse(from)));
        }
    }
}
