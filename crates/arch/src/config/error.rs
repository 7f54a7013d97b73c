//! The errors of reading and validating a configuration.

use thiserror::Error;

/// An error of a configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The text is not JSON, or not a JSON object.
    #[error("invalid configuration: {0}")]
    Syntax(String),
    /// A field has a value of another type.
    #[error("invalid configuration: `{path}`: {reason}")]
    Type {
        /// The field and the position within its value, such as `conv_dim[2]`.
        path: String,
        /// The types found and expected.
        reason: String,
    },
    /// A field has a value that no model of the family can have.
    #[error("`{field}` is {found}, expected {expected}")]
    Invalid {
        /// The name of the field.
        field: &'static str,
        /// The value that was found.
        found: String,
        /// The values that are possible.
        expected: String,
    },
    /// A field asks for a variant that is not supported.
    #[error("`{field}` is {found}, which is not supported: {reason}")]
    Unsupported {
        /// The name of the field.
        field: &'static str,
        /// The value that was found.
        found: String,
        /// The reason, and what to do instead.
        reason: &'static str,
    },
}

impl ConfigError {
    pub(crate) fn invalid(field: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        ConfigError::Invalid { field, found: found.to_string(), expected: expected.into() }
    }

    pub(crate) fn unsupported(field: &'static str, found: impl ToString, reason: &'static str) -> Self {
        ConfigError::Unsupported { field, found: found.to_string(), reason }
    }

    /// The field at fault; `None` if the text is not JSON.
    pub fn field(&self) -> Option<&str> {
        match self {
            ConfigError::Syntax(_) => None,
            ConfigError::Type { path, .. } => path.split(['.', '[']).next(),
            // Without the explanation of `conv_dim (its length)`.
            ConfigError::Invalid { field, .. } | ConfigError::Unsupported { field, .. } => field.split(' ').next(),
        }
    }
}
