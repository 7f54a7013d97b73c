//! Checks of an output path before anything is computed.

use std::path::Path;

use anyhow::{anyhow, bail};
use mert_fs::{AtomicFile, FsError, is_same_file};

/// Whether two paths lead to the same existing regular file.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    a.is_file() && is_same_file(a, b)
}

/// Checks that a file can be written to `path`: its folder exists and is writable, and a folder is not in its place.
pub(super) fn check_writable(path: &Path) -> Result<(), FsError> {
    // A pipe or a device is opened only when it is written: a reader would take an early close for the end.
    if std::fs::metadata(path).is_ok_and(|existing| !existing.is_file() && !existing.is_dir()) {
        return Ok(());
    }
    AtomicFile::create(path, true).map(drop)
}

/// The error for an output at `path` that would replace an input.
pub(super) fn is_an_input(path: &Path) -> anyhow::Error {
    anyhow!("{} is an input; give another output", path.display())
}

/// Refuses an output that is an input, that exists unless `force`, or that cannot be written.
pub(super) fn check_output(output: &Path, force: bool, inputs: &[&Path]) -> anyhow::Result<()> {
    if inputs.iter().any(|input| same_file(output, input)) {
        return Err(is_an_input(output));
    }
    if output.exists() && !force {
        bail!("{} exists; give --force to replace it", output.display());
    }
    Ok(check_writable(output)?)
}
