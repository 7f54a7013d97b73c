//! The interface of what chooses a mode.

use serde::Serialize;

use crate::Result;

/// The statistics of the last seconds of the sound and its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RunningStatistics {
    /// Onsets per second.
    pub onset_rate: f64,
    /// The level in dBFS (RMS); −∞ for digital silence.
    pub level: f64,
    /// The entropy of the tokens in bits; `None` before the first token.
    pub entropy: Option<f64>,
    /// The number of different tokens.
    pub used_tokens: usize,
}

/// The sound that a mode is chosen for.
#[derive(Debug, Clone, Copy)]
pub struct ModeInput<'a> {
    /// The newest sound, mono: as many seconds as [`ModeSelector::seconds`] asks for, or fewer at the start of a session.
    pub samples: &'a [f32],
    /// The samples per second of `samples`, the input's own rate.
    pub rate: u32,
    /// The time of the end of `samples`, in seconds from the start of the session.
    pub time: f64,
    /// The statistics of the last seconds.
    pub statistics: RunningStatistics,
}

/// A chosen mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModeChoice {
    /// The name of the mode in the [`super::Modes`] of the session.
    pub mode: String,
    /// The confidence of the choice in the selector's own unit, if it has one.
    pub score: Option<f64>,
}

/// A choice of a mode from sound. With live sound it is made on a thread of its own, so that it may take its time.
pub trait ModeSelector: Send {
    /// The name by which messages call this way of choosing.
    fn name(&self) -> &'static str;

    /// The seconds of sound that a choice is made from; 0 if none is needed.
    fn seconds(&self) -> f64 {
        0.0
    }

    /// The seconds from a choice to the next.
    fn interval(&self) -> f64 {
        0.5
    }

    /// The choice for `input`; `None` keeps the mode as it is.
    ///
    /// # Errors
    /// If the choice cannot be computed. The session says so and keeps the mode.
    fn select(&mut self, input: &ModeInput<'_>) -> Result<Option<ModeChoice>>;
}
