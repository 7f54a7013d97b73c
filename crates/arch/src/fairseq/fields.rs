//! Access to the fields of a configuration, with errors that name the field.

use thiserror::Error;

use super::value::CfgValue;

/// An error of a training configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` in fairseq's cfg is {found}, expected {expected}; {fix}")]
pub struct FairseqError {
    /// The path of the field, with dots between the keys.
    pub field: String,
    /// The value, shortened.
    pub found: String,
    /// The values that are possible.
    pub expected: String,
    /// The option or file that resolves the error, as an instruction.
    pub fix: &'static str,
}

impl FairseqError {
    /// The instruction for a field of the architecture: a config.json decides.
    pub(super) const GIVE_CONFIG: &str = "give the model's config.json with --config";
}

/// A section of a configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'c> {
    /// The whole configuration, to which interpolations refer.
    pub(super) root: &'c CfgValue,
    pub(super) value: &'c CfgValue,
    /// The section's path, with its dot; empty for the root.
    pub(super) path: &'c str,
}

impl<'c> Section<'c> {
    /// A field; `None` if it is missing or None.
    pub(super) fn field(&self, name: &str) -> Option<&'c CfgValue> {
        self.value.get(name)?.resolved(self.root).filter(|value| **value != CfgValue::None)
    }

    pub(super) fn error(&self, name: &str, found: &CfgValue, expected: impl Into<String>) -> FairseqError {
        let field = format!("{}{name}", self.path);
        FairseqError { field, found: found.to_string(), expected: expected.into(), fix: FairseqError::GIVE_CONFIG }
    }

    /// A field read by `read`.
    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&CfgValue) -> Option<T>,
    ) -> Result<Option<T>, FairseqError> {
        let Some(value) = self.field(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error(name, value, expected))
    }

    /// A truth value; Python also takes 0 and 1 as such.
    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, FairseqError> {
        self.read(name, "True or False", |value| match value {
            CfgValue::Bool(value) => Some(*value),
            CfgValue::Int(value @ (0 | 1)) => Some(*value == 1),
            _ => None,
        })
    }

    /// A size.
    pub(super) fn size(&self, name: &str) -> Result<Option<usize>, FairseqError> {
        self.read(name, "a whole number from 0 to 1048576", |value| match value {
            CfgValue::Int(value @ 0..=0x10_0000) => usize::try_from(*value).ok(),
            _ => None,
        })
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, FairseqError> {
        self.read(name, "a finite number", |value| match value {
            CfgValue::Int(value) => Some(*value as f64),
            CfgValue::Float(value) => Some(*value).filter(|value| value.is_finite()),
            _ => None,
        })
    }

    /// A rate in whole hertz, which may be written as a float.
    pub(super) fn rate(&self, name: &str) -> Result<Option<u32>, FairseqError> {
        let Some(rate) = self.number(name)? else { return Ok(None) };
        match rate.fract() == 0.0 && (1_000.0..=384_000.0).contains(&rate) {
            true => Ok(Some(rate as u32)),
            false => Err(self.error(name, &CfgValue::Float(rate), "a rate from 1000 to 384000 hertz")),
        }
    }

    /// A string; a member of an enumeration by its value.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'c str>, FairseqError> {
        match self.field(name) {
            None => Ok(None),
            Some(CfgValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(name, other, "a string")),
        }
    }
}
