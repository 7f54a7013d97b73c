//! Values that are derived from the rows of a part in some geometry, such as their lengths, and those that were used since a
//! catalogue was opened.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Compressed, DerivedFile, HalfMatrix, Level};
use crate::Result;

/// Values derived from the rows of a part, the same number for each row.
#[derive(Debug)]
pub(crate) enum DerivedRows {
    /// In a mapped file.
    Mapped(DerivedFile),
    /// Computed, where no file can be written.
    Computed(Vec<f32>),
}

impl DerivedRows {
    /// All values, row by row.
    pub(crate) fn values(&self) -> &[f32] {
        match self {
            DerivedRows::Mapped(file) => file.values(),
            DerivedRows::Computed(values) => values,
        }
    }

    /// Two values of each row.
    pub(crate) fn pairs(&self) -> &[[f32; 2]] {
        self.values().as_chunks().0
    }
}

/// Values derived from all rows, by part.
pub(crate) type Derived = Arc<Vec<DerivedRows>>;

/// The rows of each part in f16, where it has them.
pub(crate) type Halves = Arc<Vec<Option<HalfMatrix>>>;

/// The derived values that were used since a catalogue was opened, by name.
#[derive(Debug, Default)]
pub(crate) struct DerivedCache {
    values: Mutex<HashMap<String, Derived>>,
    compressed: Mutex<HashMap<Level, Arc<Compressed>>>,
    halves: Mutex<HashMap<(Level, usize), Halves>>,
    checked: Mutex<HashSet<usize>>,
}

impl DerivedCache {
    /// The values called `name`, from `load` the first time.
    pub(crate) fn get(&self, name: &str, load: impl FnOnce() -> Vec<DerivedRows>) -> Derived {
        let known = || self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = known().get(name) {
            return Arc::clone(values);
        }
        let values = Arc::new(load());
        known().insert(name.to_string(), Arc::clone(&values));
        values
    }

    /// `check` of a group, unless it has succeeded before.
    pub(crate) fn once_checked(&self, group: usize, check: impl FnOnce() -> Result<()>) -> Result<()> {
        // Those who come meanwhile wait, and do not read the same bytes.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !checked.contains(&group) {
            check()?;
            checked.insert(group);
        }
        Ok(())
    }

    /// The compressed vectors of a level, if they are open.
    pub(crate) fn compressed(&self, level: Level) -> Option<Arc<Compressed>> {
        self.compressed.lock().unwrap_or_else(PoisonError::into_inner).get(&level).cloned()
    }

    /// Keeps the compressed vectors of a level.
    pub(crate) fn set_compressed(&self, level: Level, compressed: Arc<Compressed>) {
        self.compressed.lock().unwrap_or_else(PoisonError::into_inner).insert(level, compressed);
    }

    /// The rows in f16 of a group at a level, from `open` the first time.
    pub(crate) fn halves(&self, level: Level, group: usize, open: impl FnOnce() -> Vec<Option<HalfMatrix>>) -> Halves {
        let mut known = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry((level, group)).or_insert_with(|| Arc::new(open())))
    }
}
