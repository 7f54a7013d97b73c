//! Requests: conditions on the next event, after the published behaviour of Brandtsegg's and Formo's rhythm ratio analyzer,
//! extended to several conditions at once.

mod compile;
mod condition;
mod mask;
mod parse;
mod reason;
mod unique;

pub use compile::Compiled;
pub use condition::{Condition, ConditionKind, Parameter};
pub use reason::{Dropped, Reason};

/// The conditions of a request, in order of precedence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The conditions.
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests;
