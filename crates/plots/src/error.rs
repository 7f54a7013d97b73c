//! The errors of this crate.

use plotters::drawing::DrawingAreaErrorKind;

/// The errors of pictures.
#[derive(Debug, thiserror::Error)]
pub enum PlotsError {
    /// There is nothing to draw.
    #[error("there are no {what} to draw")]
    Empty {
        /// What is missing, in the plural.
        what: &'static str,
    },
    /// A value that cannot be drawn.
    #[error("{field} is {found}, expected {expected}")]
    Value {
        /// The field of the picture.
        field: &'static str,
        /// The value.
        found: String,
        /// The values that can be drawn.
        expected: &'static str,
    },
    /// The drawing library reports an error.
    #[error("cannot draw the picture: {0}")]
    Draw(String),
}

impl PlotsError {
    pub(crate) fn value(field: &'static str, found: impl ToString, expected: &'static str) -> Self {
        PlotsError::Value { field, found: found.to_string(), expected }
    }
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotsError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        PlotsError::Draw(error.to_string())
    }
}
