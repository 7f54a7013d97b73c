//! A step of a path: the event, and the rule that chose it.

use std::fmt;

use serde::Serialize;

use crate::request::Dropped;

/// The rule that chose an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The first event of a path.
    Start,
    /// The event after the current one.
    Continuation,
    /// The event after another state that shares context with the current one.
    Jump {
        /// The common context, in events: the smallest lrs on the way over suffix links.
        context: u32,
    },
    /// An event from anywhere in the memory, because no event that the context offers meets the request.
    Request,
    /// An event from anywhere in the memory, because the context offers none.
    LastResort,
}

/// The end at which a step found the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The last event of the memory.
    Memory,
    /// The last event of a recording, by the index of its source; the next recording does not continue it.
    Source(u32),
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The index of the event in the memory, from 0.
    pub event: u32,
    /// The rule that chose it.
    pub rule: Rule,
    /// The number of events with a chance.
    pub candidates: usize,
    /// The probability of the choice.
    pub probability: f64,
    /// The end that the event before is, so that there was nothing to go on with.
    pub end: Option<End>,
    /// True if the event is among the last played, because every other choice is too.
    pub taboo_broken: bool,
    /// True if there were more jumps than `max_jumps`, or than could be looked at.
    pub capped: bool,
    /// The conditions that were dropped for this step, beside those of the compiled request.
    pub dropped: Vec<Dropped>,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Rule::Start => formatter.write_str("start"),
            Rule::Continuation => formatter.write_str("continuation"),
            Rule::Jump { context } => write!(formatter, "jump with common context {context}"),
            Rule::Request => formatter.write_str("request overruled the context"),
            Rule::LastResort => formatter.write_str("last resort"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            End::Memory => formatter.write_str("end of the memory"),
            End::Source(source) => write!(formatter, "end of source {source}"),
        }
    }
}
