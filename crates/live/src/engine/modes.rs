//! The choice of a mode as work.

use crate::Result;
use crate::mode::{FirstOf, ModeChoice, ModeInput, ModeSelector, RunningStatistics};
use crate::work::Job;

/// The sound that a mode is chosen for.
pub(super) struct ModeQuestion {
    pub(super) statistics: RunningStatistics,
    pub(super) samples: Vec<f32>,
    pub(super) rate: u32,
    pub(super) time: f64,
}

/// The selectors.
pub(super) struct ModeJob(pub(super) FirstOf);

impl Job for ModeJob {
    type Input = ModeQuestion;
    type Output = (Result<Option<ModeChoice>>, &'static str);

    fn run(&mut self, question: ModeQuestion) -> Self::Output {
        let ModeQuestion { statistics, samples, rate, time } = question;
        let choice = self.0.select(&ModeInput { samples: &samples, rate, time, statistics });
        (choice, self.0.name())
    }
}
