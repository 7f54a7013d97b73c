//! When events are answered, and how their notes are moved.

use mert_events::render::MidiOptions;
use mert_oracle::Options;
use serde::Deserialize;

/// The time at which answers are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerMode {
    /// One event for each onset: a shadow that plays when the performer does.
    #[default]
    Onset,
    /// An event for each onset, and then one after another until the performer rests: a partner that goes on by itself.
    Continuous,
}

/// The settings of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerSettings {
    /// The time at which answers are played.
    pub mode: AnswerMode,
    /// The seconds after the last onset at which a continuous answer stops.
    pub rest: f64,
    /// Ends the notes of an answer when the next one starts, for an instrument with one voice.
    pub cut: bool,
    /// The channel, the transposition and the range of keys; tempo and program have no meaning live.
    pub midi: MidiOptions,
    /// The options of navigation.
    pub navigation: Options,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        AnswerSettings {
            mode: AnswerMode::Onset,
            rest: 8.0,
            cut: false,
            midi: MidiOptions::default(),
            navigation: Options::default(),
        }
    }
}
