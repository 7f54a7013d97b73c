//! A mode by thresholds of what is played.

use serde::Deserialize;

use super::{ModeChoice, ModeInput, ModeSelector, Modes, RunningStatistics};
use crate::Result;

/// A range of a value, without its ends.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The value is greater.
    pub above: Option<f64>,
    /// The value is less.
    pub below: Option<f64>,
}

/// The conditions under which a mode is chosen; all that are given must hold.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Onsets per second.
    pub onset_rate: Option<Range>,
    /// The level in dBFS (RMS).
    pub level: Option<Range>,
    /// The entropy of the tokens in bits.
    pub entropy: Option<Range>,
}

impl Range {
    /// True for a value in the range.
    pub fn contains(&self, value: f64) -> bool {
        self.above.is_none_or(|above| value > above) && self.below.is_none_or(|below| value < below)
    }
}

impl Thresholds {
    /// True if all conditions hold. One on a value that is not known yet does not.
    pub fn hold(&self, statistics: &RunningStatistics) -> bool {
        let holds = |range: Option<Range>, value: Option<f64>| match (range, value) {
            (None, _) => true,
            (Some(range), Some(value)) => range.contains(value),
            (Some(_), None) => false,
        };
        holds(self.onset_rate, Some(statistics.onset_rate))
            && holds(self.level, Some(statistics.level))
            && holds(self.entropy, statistics.entropy)
    }
}

/// The first mode of a file whose conditions hold. A mode stays for some seconds, so that a value at a threshold does not make
/// it go back and forth.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<(String, Thresholds)>,
    hold: f64,
    chosen: Option<(String, f64)>,
}

impl Rules {
    /// The modes that have conditions, in the order of the file; each stays for `hold` seconds at least.
    pub fn new(modes: &Modes, hold: f64) -> Self {
        let rules = modes.iter().filter_map(|mode| Some((mode.name.clone(), mode.when?))).collect();
        Rules { rules, hold, chosen: None }
    }

    /// True if no mode has conditions, so that none is ever chosen.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl ModeSelector for Rules {
    fn name(&self) -> &'static str {
        "rule"
    }

    fn select(&mut self, input: &ModeInput<'_>) -> Result<Option<ModeChoice>> {
        let choice = |mode: &str| Some(ModeChoice { mode: mode.to_string(), score: None });
        if let Some((mode, since)) = &self.chosen
            && input.time - since < self.hold
        {
            return Ok(choice(mode));
        }
        let Some((mode, _)) = self.rules.iter().find(|(_, rule)| rule.hold(&input.statistics)) else {
            return Ok(None);
        };
        if self.chosen.as_ref().is_none_or(|(chosen, _)| chosen != mode) {
            self.chosen = Some((mode.clone(), input.time));
        }
        Ok(choice(mode))
    }
}
