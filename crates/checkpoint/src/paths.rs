//! Names and listings of files.

use std::path::{Path, PathBuf};

/// The last component of a path.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A folder, where an empty path means the current one.
pub(crate) fn or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The entries of a folder in the order of their names; empty if it cannot be listed.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(or_current(folder)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}
