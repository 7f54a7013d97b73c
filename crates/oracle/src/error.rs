//! Errors of oracles, their files and requests. Messages about a file begin with "its", because the caller names the file.

use thiserror::Error;

/// The reason why an oracle was not built, written, read or asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OracleError {
    /// The oracle has as many states as 32 bits can number.
    #[error("the sequence is longer than {limit} events: divide it")]
    TooLong {
        /// The largest number of events.
        limit: u32,
    },
    /// A vector has another length than those before it.
    #[error("vector {index} has {found} values: expected {expected}, as in the first")]
    Dimension {
        /// The index of the vector, from 0.
        index: usize,
        /// The length of the first vector.
        expected: usize,
        /// The length of this vector.
        found: usize,
    },
    /// An option has a value outside its range.
    #[error("invalid {name} {found}: expected {expected}")]
    Option {
        /// The name of the option.
        name: &'static str,
        /// The value.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// A distance has an unknown name.
    #[error("unknown distance `{found}`: expected one of {}", crate::Distance::NAMES.join(", "))]
    Distance {
        /// The name.
        found: String,
    },
    /// A feature has an unknown name.
    #[error("unknown feature `{found}`{}", suggestion(.nearest))]
    Feature {
        /// The name.
        found: String,
        /// The most similar name that exists.
        nearest: Option<&'static str>,
    },
    /// A value of the memory is not a finite number.
    #[error("`{field}` of event {index} is {found}: expected a finite number")]
    NotFinite {
        /// The field.
        field: String,
        /// The index of the event, from 0.
        index: usize,
        /// The value.
        found: f64,
    },
    /// The memory has no events.
    #[error("the memory has no events: give at least one")]
    Empty,
    /// JSON is invalid, or has another form than expected.
    #[error("its field `{path}` is invalid: {source}")]
    Json {
        /// The path of the field.
        path: String,
        /// The reason, with line and column.
        source: serde_json::Error,
    },
    /// JSON could not be written.
    #[error("cannot write the oracle: {0}")]
    Write(#[from] std::io::Error),
    /// A field of an oracle file has another value than expected.
    #[error("its field `{field}` is {found}: expected {expected}")]
    Field {
        /// The path of the field.
        field: String,
        /// The expected value.
        expected: String,
        /// The value in the file.
        found: String,
    },
    /// An array of an oracle file contradicts itself or the events.
    #[error("its `{field}` of state {state} is {found}: expected {expected}; build the oracle again from its events")]
    State {
        /// The array.
        field: &'static str,
        /// The state.
        state: u32,
        /// The expected value.
        expected: String,
        /// The value in the file.
        found: String,
    },
    /// A binary oracle file ends too early.
    #[error("its binary data ends within `{field}` at byte {offset}: the file is truncated")]
    Truncated {
        /// The part that is incomplete.
        field: &'static str,
        /// The offset of the part.
        offset: usize,
    },
    /// The bytes of a binary oracle file differ from those that were written.
    #[error("its CRC-32 is {found:08x}: expected {expected:08x}; the file is damaged, copy or build it again")]
    Checksum {
        /// The checksum at the end of the file.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A request is invalid.
    #[error("invalid request: {reason}")]
    Request {
        /// The reason, with what to do.
        reason: String,
    },
    /// A request has a parameter with an unknown name.
    #[error("unknown parameter `{found}` in the request{}", suggestion(.nearest))]
    Parameter {
        /// The name.
        found: String,
        /// The most similar name that exists.
        nearest: Option<&'static str>,
    },
    /// The oracle has nothing to navigate by.
    #[error("the oracle is degenerate: {reason}")]
    Degenerate {
        /// The reason, with what to do.
        reason: String,
    },
}

impl OracleError {
    pub(crate) fn request(reason: impl Into<String>) -> Self {
        OracleError::Request { reason: reason.into() }
    }

    pub(crate) fn field(field: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        OracleError::Field { field: field.into(), expected: expected.to_string(), found: found.to_string() }
    }

    pub(crate) fn option(name: &'static str, found: impl ToString, expected: &'static str) -> Self {
        OracleError::Option { name, found: found.to_string(), expected }
    }
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default()
}

/// The name that contains what was found, or the most similar one, if any is similar at all.
pub(crate) fn nearest_name(found: &str, mut names: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    let similarity = |name| strsim::jaro_winkler(found, name);
    let similar = names
        .clone()
        .map(|name| (name, similarity(name)))
        .max_by(|left, right| left.1.total_cmp(&right.1))
        .filter(|(_, similarity)| *similarity > 0.6);
    // `token` is a part of `gesture_token`, and similar to `onset_rate` by its letters.
    let containing = names.find(|name| found.len() > 2 && name.contains(found));
    containing.or(similar.map(|(name, _)| name))
}
