use super::Place;
use crate::{ConvertError, Result};

/// Refuses values that hold a NaN or an infinity.
///
/// # Errors
/// [`ConvertError::NotFinite`] with the first one.
pub fn check_finite(place: Place<'_>, values: &[f32]) -> Result<()> {
    // The common case is one vectorisable pass; the index is searched only when there is one to name.
    if values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(i) => {
            Err(ConvertError::NotFinite { name: place.name.to_string(), index: place.index(i), value: values[i] })
        }
    }
}
