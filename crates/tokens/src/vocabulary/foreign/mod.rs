//! Vocabularies of other programs, a file for each: what they hold, as data, and notes about it.

pub(super) mod faiss;
pub(super) mod numpy;
pub(super) mod pickled;

use super::Vocabulary;

/// A vocabulary of another program.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) vocabulary: Vocabulary,
    /// Sentences about what was rounded, assumed or left out.
    pub(super) notes: Vec<String>,
}

/// A vocabulary of centres in f64, `(rows, dim)`, rounded to f32 with a note where that changes one.
///
/// Frames are f32: the rounding moves a centre by at most 6e-8 of its values, which matters only to a frame that is
/// equally far from two centres to seven digits.
///
/// # Errors
/// A clause about the file.
pub(super) fn from_centres(shape: &[usize], values: &[f64]) -> Result<Foreign, String> {
    let &[rows, dim] = shape else {
        return Err(format!("its centres have the shape {shape:?}, expected (k, dim)"));
    };
    let rounded: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    if let Some(value) = values.iter().zip(&rounded).find(|(value, rounded)| value.is_finite() && !rounded.is_finite())
    {
        return Err(format!("a centre has the value {}, which is beyond f32", value.0));
    }
    let changed = values.iter().zip(&rounded).filter(|(value, rounded)| **value != f64::from(**rounded)).count();
    let vocabulary = Vocabulary::new(rounded, dim).map_err(|error| error.to_string())?;
    if vocabulary.k() != rows {
        return Err(format!("its centres are {} values, expected {rows} rows of {dim}", values.len()));
    }
    let mut notes = Vec::new();
    if changed > 0 {
        notes.push(format!(
            "the centres are in f64 and were rounded to f32, which changed {changed} of {} values",
            values.len()
        ));
    }
    Ok(Foreign { vocabulary, notes })
}
