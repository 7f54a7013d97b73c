//! The options of navigation, with the systems whose published behaviour they follow.

use serde::{Deserialize, Serialize};

use crate::{OracleError, Result};

/// The largest exponent of a weight.
const MAX_POWER: f64 = 10.0;

/// The options of a [`super::Navigator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The seed of the choices: the same seed, memory, options and requests give the same path.
    pub seed: u64,
    /// The weight of going straight on, 0 to 1, where there are jumps too; these share the rest. OMax and vmo set how long to
    /// go on instead, which are the next two options.
    pub continuity: f64,
    /// The number of events after a jump before the next jump, as long as there is a next event (vmo's `continuity`).
    pub min_continuity: u32,
    /// The number of events in a row after which a jump is taken if there is one (Dicy2's maximum continuity).
    pub max_continuity: Option<u32>,
    /// The smallest common context of a jump in events, from 1 (vmo's LRS; OMax's minimum context is 3).
    pub min_context: u32,
    /// The exponent of the common context in a jump's weight: 0 for all jumps alike, 1 for vmo's weighting by LRS.
    pub context_power: f64,
    /// The last events played that are not played again (Somax's taboo is 10).
    pub taboo: u32,
    /// The exponent of (1 + visits) that a weight is divided by: above 0 it prefers what was played least (Dicy2's jumps).
    pub visit_penalty: f64,
    /// The temperature T: probabilities are proportional to weights to the power 1/T. 0 takes the largest weight.
    pub temperature: f64,
    /// The largest number of jumps that are considered at a step, those with the longest common context first.
    pub max_jumps: usize,
    /// The event to start with, if no request chooses another.
    pub start: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 0,
            continuity: 0.8,
            min_continuity: 0,
            max_continuity: None,
            min_context: 1,
            context_power: 1.0,
            taboo: 10,
            visit_penalty: 0.0,
            temperature: 1.0,
            max_jumps: 256,
            start: 0,
        }
    }
}

impl Options {
    /// Checks all options, for a memory of `events` events.
    ///
    /// # Errors
    /// [`OracleError::Option`] for the first that is out of range.
    pub fn check(&self, events: u32) -> Result<()> {
        let range = |name, value: f64, valid: bool, expected| match valid {
            true => Ok(()),
            false => Err(OracleError::option(name, value, expected)),
        };
        range("continuity", self.continuity, (0.0..=1.0).contains(&self.continuity), "0 to 1")?;
        range("min_context", f64::from(self.min_context), self.min_context >= 1, "at least 1 event")?;
        range("temperature", self.temperature, self.temperature >= 0.0, "a number from 0")?;
        // Beyond, weights of events that were played often become 0.
        let power = |value: f64| (0.0..=MAX_POWER).contains(&value);
        range("context_power", self.context_power, power(self.context_power), "0 to 10")?;
        range("visit_penalty", self.visit_penalty, power(self.visit_penalty), "0 to 10")?;
        range("max_jumps", self.max_jumps as f64, self.max_jumps >= 1, "at least 1")?;
        range("start", f64::from(self.start), self.start < events, "the index of an event of the memory")?;
        let limit = self.max_continuity.unwrap_or(u32::MAX);
        let least = self.min_continuity.max(1);
        range("max_continuity", f64::from(limit), limit >= least, "at least 1 event and min_continuity")
    }
}
