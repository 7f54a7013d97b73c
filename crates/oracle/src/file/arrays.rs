//! The arrays of a file: `sfx`, `lrs` and `trn` by state, checked each by itself and against the links of the events.

use std::fmt::Debug;

use crate::{Links, OracleError, Result};

/// The arrays, by state from 0.
pub(super) struct Arrays {
    pub(super) sfx: Vec<Option<u32>>,
    pub(super) lrs: Vec<u32>,
    pub(super) trn: Vec<Vec<u32>>,
}

impl Arrays {
    /// The checks that need no events: lengths, and what holds in every factor oracle.
    pub(super) fn check(&self, events: usize) -> Result<()> {
        for (field, length) in [("sfx", self.sfx.len()), ("lrs", self.lrs.len()), ("trn", self.trn.len())] {
            if length != events + 1 {
                let expected = format!("{} states, one more than events", events + 1);
                return Err(OracleError::field(field, expected, format!("an array of {length}")));
            }
        }
        for (state, ((sfx, lrs), trn)) in self.sfx.iter().zip(&self.lrs).zip(&self.trn).enumerate() {
            let state = state as u32;
            match (state, sfx) {
                (0, Some(_)) => return differs("sfx", state, "null", format_args!("{}", json(*sfx))),
                (0, None) => {}
                (_, Some(link)) if *link < state => {}
                _ => return differs("sfx", state, format!("a state below {state}"), format_args!("{}", json(*sfx))),
            }
            let repeats = sfx.is_some_and(|link| link > 0);
            if *lrs >= state.max(1) || (*lrs > 0) != repeats {
                let expected =
                    if repeats { format!("1 to {}", state - 1) } else { "0, with a link to state 0".to_string() };
                return differs("lrs", state, expected, lrs);
            }
            let next = (state as usize != events).then_some(state + 1);
            if trn.first().copied() != next {
                return differs("trn", state, next.map_or("empty".to_string(), |next| format!("{next} first")), trn);
            }
            if trn.windows(2).any(|pair| pair[0] >= pair[1]) || trn.last().is_some_and(|last| *last as usize > events) {
                return differs("trn", state, format!("ascending states up to {events}"), trn);
            }
        }
        Ok(())
    }

    /// The comparison with the links that the events give.
    pub(super) fn compare(&self, links: &Links) -> Result<()> {
        for (state, ((sfx, lrs), trn)) in self.sfx.iter().zip(&self.lrs).zip(&self.trn).enumerate() {
            let state = state as u32;
            if *sfx != links.sfx(state) {
                return differs(
                    "sfx",
                    state,
                    format!("{}, by the events", json(links.sfx(state))),
                    format_args!("{}", json(*sfx)),
                );
            }
            if *lrs != links.lrs(state) {
                return differs("lrs", state, format!("{}, by the events", links.lrs(state)), lrs);
            }
            if !links.trn(state).eq(trn.iter().copied()) {
                let expected: Vec<u32> = links.trn(state).collect();
                return differs("trn", state, format!("{expected:?}, by the events"), trn);
            }
        }
        Ok(())
    }
}

/// A suffix link as the JSON form has it.
fn json(link: Option<u32>) -> String {
    link.map_or("null".to_string(), |link| link.to_string())
}

fn differs(field: &'static str, state: u32, expected: impl Into<String>, found: impl Debug) -> Result<()> {
    Err(OracleError::State { field, state, expected: expected.into(), found: format!("{found:?}") })
}
