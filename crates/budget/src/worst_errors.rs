//! The worst errors over clips: of each hidden state, and of all.

use std::fmt;

use mert_convert::write::StateFidelity;
use serde::Serialize;

use crate::goal::{Budget, Criterion};
use crate::losses::LossLayout;
use crate::repair::Losses;

/// The worst errors on some clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorstErrors {
    /// The worst of all hidden states by each criterion.
    pub worst: StateFidelity,
    /// The worst clip by each criterion, for every hidden state.
    pub hidden_states: Vec<StateFidelity>,
}

impl fmt::Display for WorstErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.worst.fmt(f)
    }
}

impl WorstErrors {
    /// The largest of the losses of every hidden state by criterion.
    pub(crate) fn of_losses(losses: impl Iterator<Item = f64>, layout: &LossLayout) -> Self {
        let mut states = vec![[0f64; 3]; layout.states()];
        for (loss, entry) in losses.zip(layout.entries()) {
            let worst = &mut states[entry.state][entry.criterion as usize];
            *worst = worst.max(loss);
        }
        let worst = states.iter().fold([0.0; 3], |a: [f64; 3], b| [0, 1, 2].map(|i| a[i].max(b[i])));
        let hidden_states = states.into_iter().map(fidelity).collect();
        WorstErrors { worst: fidelity(worst), hidden_states }
    }

    /// The largest loss in proportion to its limit, with its hidden state and criterion.
    pub(crate) fn tightest(&self, budget: &Budget) -> (f64, usize, Criterion) {
        let mut tightest = (0.0, 0, Criterion::Pooled);
        for (state, fidelity) in self.hidden_states.iter().enumerate() {
            for criterion in Criterion::ALL {
                let ratio = budget.limit(criterion).map_or(0.0, |limit| criterion.loss(fidelity) / limit);
                if ratio > tightest.0 {
                    tightest = (ratio, state, criterion);
                }
            }
        }
        tightest
    }
}

impl Losses for WorstErrors {
    /// The losses of each hidden state in turn, by criterion.
    fn losses(&self) -> Vec<f64> {
        self.hidden_states.iter().flat_map(|state| Criterion::ALL.map(|criterion| criterion.loss(state))).collect()
    }
}

/// The figures of losses by criterion.
fn fidelity(losses: [f64; 3]) -> StateFidelity {
    let [pooled, frame, nmse] = losses;
    StateFidelity { pooled_cosine: 1.0 - pooled, frame_cosine: 1.0 - frame, nmse }
}
