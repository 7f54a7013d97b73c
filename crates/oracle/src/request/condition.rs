//! A condition: a parameter of an event, a comparison and a weight.

use std::fmt;

use mert_events::FEATURES;

use crate::error::nearest_name;
use crate::{OracleError, Result};

/// The parameters of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// The token, a name.
    GestureToken,
    /// The rhythm ratio, a reduced fraction.
    RhythmRatio,
    /// The index of the event in the memory, from 0.
    Index,
    /// A feature, by its index in [`FEATURES`].
    Feature(usize),
}

/// The comparison of a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConditionKind {
    /// `==` of a token.
    Token(u32),
    /// `==` of a ratio, reduced; if no event has it, the ratio that is nearest in proportion.
    Ratio([u32; 2]),
    /// `==` of a number; if no event has it, the nearest value that one has.
    Equal(f64),
    /// `near`: 1 at the value, falling in proportion to the distance; 0 a whole range of values away.
    Near(f64),
    /// `>`.
    Greater(f64),
    /// `<`.
    Less(f64),
    /// `abs >`: the magnitude is greater.
    AbsGreater(f64),
    /// `abs <`: the magnitude is less.
    AbsLess(f64),
    /// `gradient` s: ((v - min) / (max - min))^|s|, with the fraction subtracted from 1 if s < 0.
    Gradient(f64),
    /// `gr_abs` s: the same of magnitudes.
    AbsGradient(f64),
    /// `next`: the event after the current one.
    Next,
    /// `prev`: the event before the current one.
    Previous,
}

/// A condition of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// The parameter.
    pub parameter: Parameter,
    /// The comparison.
    pub kind: ConditionKind,
    /// The weight w, 0 to 1: an event's probability is multiplied by 1 - w + w·mask. With 1 the condition must hold.
    pub weight: f64,
}

impl Parameter {
    /// The parameter of a name.
    ///
    /// # Errors
    /// [`OracleError::Parameter`], with the nearest name.
    pub fn of(name: &str) -> Result<Self> {
        let others = [Parameter::GestureToken, Parameter::RhythmRatio, Parameter::Index];
        let mut all = others.into_iter().chain((0..FEATURES.len()).map(Parameter::Feature));
        let names = || others.iter().map(|other| other.name()).chain(FEATURES.iter().map(|feature| feature.name));
        all.find(|parameter| parameter.name() == name)
            .ok_or_else(|| OracleError::Parameter { found: name.to_string(), nearest: nearest_name(name, names()) })
    }

    /// The name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Parameter::GestureToken => "gesture_token",
            Parameter::RhythmRatio => "rhythm_ratio",
            Parameter::Index => "index",
            Parameter::Feature(index) => FEATURES.get(index).map_or("unknown", |feature| feature.name),
        }
    }

    /// True for parameters whose short form asks for equality: names, and features with a few whole values.
    pub(super) fn is_discrete(self) -> bool {
        match self {
            Parameter::GestureToken | Parameter::RhythmRatio | Parameter::Index => true,
            Parameter::Feature(_) => ["root", "units", "polarity", "pulse", "pulse_position"].contains(&self.name()),
        }
    }

    /// The distance of two values; of pitch classes the shorter way round the circle.
    pub(super) fn distance(self, left: f64, right: f64) -> f64 {
        let distance = (left - right).abs();
        if self.name() != "root" {
            return distance;
        }
        let distance = distance.rem_euclid(12.0);
        distance.min(12.0 - distance)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let name = self.parameter.name();
        match self.kind {
            ConditionKind::Token(token) => write!(formatter, "{name} == {token}"),
            ConditionKind::Ratio([over, under]) => write!(formatter, "{name} == {over}:{under}"),
            ConditionKind::Equal(value) => write!(formatter, "{name} == {value}"),
            ConditionKind::Near(value) => write!(formatter, "{name} near {value}"),
            ConditionKind::Greater(value) => write!(formatter, "{name} > {value}"),
            ConditionKind::Less(value) => write!(formatter, "{name} < {value}"),
            ConditionKind::AbsGreater(value) => write!(formatter, "{name} abs > {value}"),
            ConditionKind::AbsLess(value) => write!(formatter, "{name} abs < {value}"),
            ConditionKind::Gradient(value) => write!(formatter, "{name} gradient {value}"),
            ConditionKind::AbsGradient(value) => write!(formatter, "{name} gr_abs {value}"),
            ConditionKind::Next => write!(formatter, "{name} next"),
            ConditionKind::Previous => write!(formatter, "{name} prev"),
        }
    }
}
