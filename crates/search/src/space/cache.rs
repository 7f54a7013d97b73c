//! Files in `cache/` of a catalogue: values that are derived from its vectors in some geometry. Anybody may delete them.

use std::fs;
use std::path::{Path, PathBuf};

use super::Space;
use crate::vectors::{DerivedFile, DerivedRows};

impl Space<'_> {
    /// A name of the geometry, of CSLS apart, and of the statistics that it uses.
    pub(super) fn geometry_key(&self) -> Option<String> {
        let mut geometry = self.geometry.clone();
        geometry.csls = false;
        // A metric that cannot be written has no name, and what depends on it is not kept.
        let described = geometry.describe(self.catalogue).ok()?;
        Some(mert_fs::sha256_bytes(format!("{described} {}", self.key).as_bytes())[..16].to_string())
    }

    /// A path in the folder of caches, which is created if there is none.
    pub(super) fn cache_path(&self, name: &str) -> PathBuf {
        let folder = self.catalogue.folder().join("cache");
        // A catalogue that cannot be written is searched all the same.
        let _ = fs::create_dir_all(&folder);
        folder.join(name)
    }
}

/// The values of `rows` rows in a file at `path`, from `compute` if there is none that fits.
pub(super) fn cached(path: Option<&Path>, rows: usize, dim: usize, compute: impl FnOnce() -> Vec<f32>) -> DerivedRows {
    if let Some(stored) = path.and_then(|path| DerivedFile::open(path, rows, dim)) {
        return DerivedRows::Mapped(stored);
    }
    let computed = compute();
    let written = path.filter(|path| DerivedFile::write(path, dim, &computed).is_ok());
    match written.and_then(|path| DerivedFile::open(path, rows, dim)) {
        Some(stored) => DerivedRows::Mapped(stored),
        None => DerivedRows::Computed(computed),
    }
}

/// Removes the files beside `path` that begin with `prefix` and not with `current`: those of another state of the
/// catalogue.
pub(super) fn remove_others(path: &Path, prefix: &str, current: &str) {
    for entry in path.parent().into_iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(prefix) && !name.starts_with(current)) {
            // Whoever writes next tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}
