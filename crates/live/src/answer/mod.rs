//! Answers: which event of the memory follows what was just heard.
//!
//! - `settings.rs`: when events are answered, and how their notes are moved.
//! - `matcher.rs`: the event of the memory that is most like what was heard.
//! - `answerer.rs`: the path through the memory, under a request.

mod answerer;
mod matcher;
mod settings;

pub(crate) use self::answerer::{Answerer, Heard};
pub use self::matcher::{Centres, Matched, Matcher};
pub use self::settings::{AnswerMode, AnswerSettings};
