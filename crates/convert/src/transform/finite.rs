use ndarray::ArrayD;

use crate::{ConvertError, Result};

/// Refuses a tensor that holds a NaN or an infinity.
pub(super) fn check(name: &str, tensor: &ArrayD<f32>) -> Result<()> {
    // The common case is one vectorisable pass; the index is searched only when there is one to name.
    if tensor.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    match tensor.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => {
            let index = ndarray::Dimension::slice(&index).to_vec();
            Err(ConvertError::NotFinite { name: name.to_string(), index, value })
        }
    }
}
