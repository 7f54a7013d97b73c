//! The reasons of a score: the terms that it is the sum of, by hidden state, by seed and by passage, and what is known of
//! the tracks beside it. Numbers only; nothing here names what a hidden state hears.

mod contrast;
mod facts;
mod pairs;
mod probes;
mod reasons;

pub use self::contrast::{Contrast, ContrastTerm, contrast};
pub use self::facts::{Fact, FactValue};
pub use self::pairs::{Pair, Participation};
pub use self::probes::HeldOut;
pub use self::reasons::{ExplainOptions, GroupTerm, Reasons, SeedTerm, explain};

#[cfg(test)]
mod tests;
