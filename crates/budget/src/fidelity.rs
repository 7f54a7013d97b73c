//! The worst errors over clips: of each hidden state, and of all.

use std::fmt;

use serde::Serialize;

use crate::goal::{Budget, Criterion};
use crate::losses::LossLayout;

/// The worst errors on some clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// The worst of all hidden states by each criterion.
    pub worst: StateFidelity,
    /// The worst clip by each criterion, for every hidden state.
    pub hidden_states: Vec<StateFidelity>,
}

/// The errors of a hidden state, of the worst clip by each criterion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StateFidelity {
    /// The lowest cosine similarity of the means over frames.
    pub pooled_cosine: f64,
    /// The lowest cosine similarity of two corresponding frames.
    pub frame_cosine: f64,
    /// The largest normalised mean squared error.
    pub nmse: f64,
}

impl StateFidelity {
    fn new(losses: [f64; 3]) -> Self {
        let [pooled, frame, nmse] = losses;
        StateFidelity { pooled_cosine: 1.0 - pooled, frame_cosine: 1.0 - frame, nmse }
    }

    /// The loss by a criterion: the distance of a cosine from 1, or the NMSE.
    pub fn loss(&self, criterion: Criterion) -> f64 {
        match criterion {
            Criterion::Pooled => 1.0 - self.pooled_cosine,
            Criterion::Frame => 1.0 - self.frame_cosine,
            Criterion::Nmse => self.nmse,
        }
    }

    /// The largest loss in proportion to its limit; the limits hold if it is at most 1.
    pub fn ratio(&self, budget: &Budget) -> f64 {
        let ratios = Criterion::ALL.into_iter().filter_map(|c| Some(self.loss(c) / budget.limit(c)?));
        ratios.fold(0.0, f64::max)
    }
}

impl fmt::Display for StateFidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StateFidelity { pooled_cosine, frame_cosine, nmse } = self;
        write!(f, "pooled cosine {pooled_cosine:.6}, frame cosine {frame_cosine:.6}, NMSE {nmse:.2e}")
    }
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.worst.fmt(f)
    }
}

impl Fidelity {
    /// The largest of the losses of every hidden state by criterion.
    pub(crate) fn of_losses(losses: impl Iterator<Item = f64>, layout: &LossLayout) -> Self {
        let mut states = vec![[0f64; 3]; layout.states()];
        for (loss, entry) in losses.zip(layout.entries()) {
            let worst = &mut states[entry.state][entry.criterion as usize];
            *worst = worst.max(loss);
        }
        let worst = states.iter().fold([0.0; 3], |a: [f64; 3], b| [0, 1, 2].map(|i| a[i].max(b[i])));
        let hidden_states = states.into_iter().map(StateFidelity::new).collect();
        Fidelity { worst: StateFidelity::new(worst), hidden_states }
    }

    /// The largest loss in proportion to its limit, with its hidden state and criterion.
    pub(crate) fn tightest(&self, budget: &Budget) -> (f64, usize, Criterion) {
        let mut tightest = (0.0, 0, Criterion::Pooled);
        for (state, fidelity) in self.hidden_states.iter().enumerate() {
            for criterion in Criterion::ALL {
                let ratio = budget.limit(criterion).map_or(0.0, |limit| fidelity.loss(criterion) / limit);
                if ratio > tightest.0 {
                    tightest = (ratio, state, criterion);
                }
            }
        }
        tightest
    }
}
