//! What a session puts out: timed MIDI messages with their reasons, and sentences for the player.

use std::sync::Arc;

use mert_events::render::MidiBytes;
use mert_oracle::{Dropped, Rule};
use serde::Serialize;

/// An output of the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A MIDI message.
    Midi(TimedMidi),
    /// A sentence for the player.
    Notice(String),
}

/// A MIDI message at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedMidi {
    /// The sample of the input at which it is due.
    pub sample: u64,
    /// The same in seconds from the start of the session.
    pub time: f64,
    /// The message.
    pub bytes: MidiBytes,
    /// The cause of the message.
    pub cause: Cause,
    /// The answer that the note belongs to.
    pub answer: Option<Arc<Answer>>,
    /// The sample of the onset that this message is the first to answer.
    pub answers_onset: Option<u64>,
}

/// The causes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A note of an answer starts.
    Start,
    /// A note ends: at its length, or because its key is struck again.
    End,
    /// A note ends early: the session ends, the input stopped, or `cut` ends the answer before.
    Release,
    /// Everything is silenced.
    Panic,
}

/// The rule by which an event of the memory was recognised in what was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchRule {
    /// It has the token that was heard, and the events before it share the longest context; its features decide between equals.
    Token,
    /// No event has the token: it has the nearest centre of those in the memory.
    NearestCentre,
    /// No token is known yet, or none is near: the path goes on where it was.
    None,
}

/// The origin of the token of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFrom {
    /// The most frequent one of the segment that the onset ends.
    Segment,
    /// The newest frame, because no frame of the segment is known yet.
    Newest,
}

/// An event that is played, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The onset that it answers, in seconds; none for an event that follows another by itself.
    pub onset: Option<f64>,
    /// The token that was heard.
    pub token: Option<u32>,
    /// The origin of the token.
    pub token_from: Option<TokenFrom>,
    /// The event that was recognised.
    pub matched: Option<u32>,
    /// By which rule.
    #[serde(rename = "match")]
    pub match_rule: MatchRule,
    /// The number of tokens before, up to 8, that the recognised event shares with what was heard.
    pub match_context: u32,
    /// The event that is played.
    pub event: u32,
    /// The rule of navigation that chose it.
    #[serde(flatten)]
    pub rule: NamedRule,
    /// The events without notes that were passed on the way.
    pub passed: u32,
    /// The conditions of the request that were dropped for this step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// A rule of navigation by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NamedRule {
    /// The rule.
    pub rule: &'static str,
    /// The common context of a jump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
}

impl From<Rule> for NamedRule {
    fn from(rule: Rule) -> Self {
        let (rule, context) = match rule {
            Rule::Start => ("start", None),
            Rule::Continuation => ("continuation", None),
            Rule::Jump { context } => ("jump", Some(context)),
            Rule::Request => ("request", None),
            Rule::LastResort => ("last_resort", None),
        };
        NamedRule { rule, context }
    }
}
