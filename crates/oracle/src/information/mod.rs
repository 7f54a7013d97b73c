//! What an oracle says about its sequence: Compror's code, information rate, the search for a threshold, statistics.

mod compror;
mod entropy;
mod rate;
mod statistics;
mod threshold;

pub use compror::{Word, compror};
pub use entropy::entropy_over_time;
pub use rate::{InformationRate, information_rate};
pub use statistics::{Statistics, Verdict};
pub use threshold::{Grid, ThresholdScore, ThresholdSearch, threshold_search};

#[cfg(test)]
mod tests;
