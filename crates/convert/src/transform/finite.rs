//! The check that all values of a checkpoint are finite.

use super::span::Span;
use crate::{ConvertError, Result};

/// Refuses values that hold a NaN or an infinity.
///
/// # Errors
/// [`ConvertError::NotFinite`] with the first one.
pub fn check_finite<V: Copy + Into<f64>>(span: Span<'_>, values: &[V]) -> Result<()> {
    let is_finite = |value: &V| -> bool { (*value).into().is_finite() };
    // The common case is one vectorisable pass; the index is searched only when there is one to name.
    if values.iter().fold(true, |finite, value| finite & is_finite(value)) {
        return Ok(());
    }
    match values.iter().position(|value| !is_finite(value)) {
        None => Ok(()),
        Some(i) => {
            let value = values[i].into() as f32;
            Err(ConvertError::NotFinite { name: span.tensor.to_string(), index: span.index(i), value })
        }
    }
}
