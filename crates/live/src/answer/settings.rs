//! When events are answered.

use serde::Deserialize;

/// When an answer is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerMode {
    /// One event for each onset: a shadow that plays when the performer does.
    #[default]
    Onset,
    /// An event for each onset, and then one after another until the performer rests: a partner that goes on by itself.
    Continuous,
}
