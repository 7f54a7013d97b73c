//! The factor oracle: an automaton that is built event by event and links every state to the nearest earlier repetition.
//!
//! The construction is that of Allauzen, Crochemore and Raffinot, "Factor oracle: a new structure for pattern matching"
//! (SOFSEM 1999); the lengths of repeated suffixes follow Lefebvre and Lecroq, "Computing repeated factors with a factor
//! oracle" (AWOCA 2000), and the match of features Dubnov, Assayag and Cont, "Audio oracle" (ICMC 2007).

mod arrows;
mod distance;
mod events;
mod links;
mod oracle;
mod reverse;
mod rule;
mod suffixes;
mod tokens;
mod vectors;

pub use distance::Distance;
pub use events::EventRule;
pub use links::{Clusters, Links};
pub use oracle::{FactorOracle, SuffixMethod};
pub use rule::{Match, MatchRule, Symbols};
pub use tokens::{NearTokens, TokenMatch};
pub use vectors::Vectors;

#[cfg(test)]
mod tests;
