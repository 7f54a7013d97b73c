//! The improvement of a choice by single changes, which reach what no convex hull does.

use super::{Aim, Problem, State};

/// Changes single groups while that is better: to smaller options while the limits hold, or to larger ones while the bytes
/// suffice; each time the one that gains most, of equals the first.
pub(super) fn polish(problem: &Problem, aim: Aim, state: &mut State) {
    loop {
        let change = match aim {
            Aim::Limits => smaller(problem, state),
            Aim::Bytes(available) => better(problem, state, available),
        };
        let Some((group, to)) = change else { break };
        state.change(problem, group, to);
        // The sums are those of the choice, without the rounding of the steps that led to it.
        *state = State::new(problem, state.choice.clone());
    }
}

/// The change that saves the most bytes within the limits.
fn smaller(problem: &Problem, state: &State) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize, usize)> = None;
    for (group, options) in problem.groups.iter().enumerate() {
        let now = &options[state.choice[group]];
        for (to, option) in options.iter().enumerate().take(state.choice[group]) {
            let saved = now.bytes.saturating_sub(option.bytes);
            if saved > best.map_or(0, |(saved, ..)| saved) && largest_after(state, now, option) <= 1.0 {
                best = Some((saved, group, to));
            }
        }
    }
    best.map(|(_, group, to)| (group, to))
}

/// The change that lowers the largest sum most within the bytes.
fn better(problem: &Problem, state: &State, available: usize) -> Option<(usize, usize)> {
    let mut best = (state.largest() * (1.0 - 1e-6), None);
    for (group, options) in problem.groups.iter().enumerate() {
        let now = &options[state.choice[group]];
        for (to, option) in options.iter().enumerate().skip(state.choice[group] + 1) {
            if state.bytes + option.bytes - now.bytes <= available {
                let largest = largest_after(state, now, option);
                if largest < best.0 {
                    best = (largest, Some((group, to)));
                }
            }
        }
    }
    best.1
}

/// The largest sum with one option in place of another.
fn largest_after(state: &State, before: &super::Choosable, after: &super::Choosable) -> f64 {
    let loss = |losses: &[f32], i: usize| losses.get(i).copied().unwrap_or_default();
    let sums = state.sums.iter().enumerate();
    f64::from(sums.map(|(i, sum)| sum + loss(&after.losses, i) - loss(&before.losses, i)).fold(0.0, f32::max))
}
