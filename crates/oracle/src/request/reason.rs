//! What must be said about a condition that does not do what it says.

use serde::Serialize;

/// The reasons why a condition does not do what it says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Dropped: no event of the memory meets it, or has a value at all.
    NothingMeets,
    /// Dropped: no event meets it together with the conditions before it.
    Conflict,
    /// Dropped for a step: there is no such event beside the current one, or it does not meet the other conditions.
    NotHere,
    /// Dropped for a step: the request was compiled for a memory of another length.
    OtherMemory,
    /// Without effect: all events have one value, so that a gradient or closeness prefers none.
    OneValue,
    /// Without effect: the weight is 0.
    NoWeight,
    /// Replaced: no event has the value, and this is the nearest that one has.
    NearestValue(f64),
    /// Replaced: no event has the ratio, and this is the nearest in proportion.
    NearestRatio([u32; 2]),
}

/// A remark about a condition, by its index in the request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dropped {
    /// The index of the condition.
    pub condition: usize,
    /// The reason.
    pub reason: Reason,
}
