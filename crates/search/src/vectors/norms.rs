//! Lengths of the rows of a part in some geometry, and those that were used since a catalogue was opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Matrix;

/// The lengths of the rows of a part.
#[derive(Debug)]
pub(crate) enum PartNorms {
    /// In a mapped file.
    Mapped(Matrix),
    /// Computed, where no file can be written.
    Computed(Vec<f32>),
}

impl PartNorms {
    /// For each row the inverse length and the spread.
    pub(crate) fn pairs(&self) -> &[[f32; 2]] {
        match self {
            PartNorms::Mapped(matrix) => matrix.values().as_chunks().0,
            PartNorms::Computed(values) => values.as_chunks().0,
        }
    }
}

/// The lengths of all rows of a group, by part.
pub(crate) type GroupNorms = Arc<Vec<PartNorms>>;

/// The lengths that were used since a catalogue was opened, by name.
#[derive(Debug, Default)]
pub(crate) struct NormsCache(Mutex<HashMap<String, GroupNorms>>);

impl NormsCache {
    /// The lengths called `name`, from `load` the first time.
    pub(crate) fn get(&self, name: &str, load: impl FnOnce() -> Vec<PartNorms>) -> GroupNorms {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(norms) = known().get(name) {
            return Arc::clone(norms);
        }
        let norms = Arc::new(load());
        known().insert(name.to_string(), Arc::clone(&norms));
        norms
    }
}
