//! The factor oracle over tokens and features, its information rate, and navigation under requests.
//!
//! Data flows one way: a memory (symbols, vectors or events) becomes a [`FactorOracle`], an [`OracleFile`] keeps both, and a
//! [`Navigator`] walks over the [`Links`] and returns indices of events that a [`Request`] prefers.
//!
//! ```
//! use mert_oracle::{FactorOracle, Symbols};
//!
//! let oracle = FactorOracle::build(Symbols::new(), b"abbbaab".iter().map(|&byte| u32::from(byte)))?;
//! let links = oracle.links();
//! let suffix_links: Vec<_> = (0..links.states()).map(|state| links.sfx(state)).collect();
//! assert_eq!(suffix_links, [None, Some(0), Some(0), Some(2), Some(3), Some(1), Some(1), Some(2)]);
//! # Ok::<(), mert_oracle::OracleError>(())
//! ```

mod error;
mod factor;
mod file;
mod information;
mod navigate;
mod request;

pub use error::OracleError;
pub use factor::{
    Clusters, Distance, EventRule, FactorOracle, Links, Match, MatchRule, NearTokens, SuffixMethod, Symbols,
    TokenMatch, Vectors,
};
pub use file::{FORMAT, MAGIC, Matching, Material, OracleFile, Source, VERSION};
pub use information::{
    Grid, InformationRate, Statistics, ThresholdScore, ThresholdSearch, Verdict, Word, compror, entropy_over_time,
    information_rate, threshold_search,
};
pub use navigate::{End, Memory, Navigator, Options, Rule, Step};
pub use request::{Compiled, Condition, ConditionKind, Dropped, Parameter, Reason, Request};

pub(crate) type Result<T, E = OracleError> = std::result::Result<T, E>;
