//! What a player and a log need to know about a session.

use mert_events::level::Level;

use crate::heard::TokenUse;

/// The seconds over which the use of tokens is judged.
pub(crate) const USE_SECONDS: f64 = 20.0;

/// The seconds over which onsets and the level are measured for the choice of a mode.
pub(crate) const RUNNING_SECONDS: f64 = 5.0;

/// The frames with sound from which on the use of tokens is judged.
const JUDGED_FRAMES: u64 = 300;

/// The state of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The seconds of sound so far.
    pub seconds: f64,
    /// The level since the last status.
    pub level: Level,
    /// The use of tokens over the last 20 s with sound.
    pub recent: TokenUse,
    /// The use of tokens of the whole session.
    pub total: TokenUse,
    /// The counters.
    pub counts: Counts,
    /// The mode, if there are any.
    pub mode: Option<String>,
}

/// The counters of a session.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counts {
    /// The onsets that were detected.
    pub onsets: u64,
    /// The onsets that came too soon after another and are not answered.
    pub merged: u64,
    /// The events that were heard, from one onset to the next.
    pub heard: u64,
    /// The events that were played.
    pub answers: u64,
    /// The answers for which no event with notes was found.
    pub silent_answers: u64,
    /// The notes that were started.
    pub notes: u64,
    /// The samples that never arrived, and were taken to be silent.
    pub lost_samples: u64,
    /// The samples that were no finite numbers, and were taken to be silent.
    pub invalid_samples: u64,
    /// The windows that were left out because the forward pass cannot keep up.
    pub skipped_windows: u64,
    /// The windows that were encoded.
    pub windows: u64,
    /// The seconds that the forward passes took.
    pub encoding: f64,
}

impl Status {
    /// True if far fewer tokens are used than in the training: the entropy over the last 20 s of sound is below a quarter of
    /// the training's. A single held note does the same for a while.
    pub fn has_collapsed(&self, training: &TokenUse) -> bool {
        self.recent.frames >= JUDGED_FRAMES && self.recent.entropy < training.entropy / 4.0
    }
}

/// Latencies in seconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies {
    values: Vec<f64>,
}

impl Latencies {
    /// Adds one.
    pub fn push(&mut self, seconds: f64) {
        self.values.push(seconds);
    }

    /// The number.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The median, the value that 95% do not exceed, and the largest; `None` if there are none.
    pub fn summary(&self) -> Option<[f64; 3]> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        // The nearest rank.
        let rank = |share: f64| sorted.get(((share * sorted.len() as f64).ceil() as usize).max(1) - 1).copied();
        Some([rank(0.5)?, rank(0.95)?, rank(1.0)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_latencies() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), None);
        (1..=100).rev().for_each(|value| latencies.push(f64::from(value)));
        assert_eq!(latencies.summary(), Some([50.0, 95.0, 100.0]));
        let mut one = Latencies::default();
        one.push(0.02);
        assert_eq!((one.summary(), one.count()), (Some([0.02; 3]), 1));
    }
}
