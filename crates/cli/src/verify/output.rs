//! Checks of an output path before anything is computed.

use std::path::Path;

use anyhow::bail;
use mert_fs::is_same_file;

/// Whether two paths lead to the same existing regular file.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    a.is_file() && is_same_file(a, b)
}

/// Refuses an output that is an input, or that exists unless `force`.
pub(super) fn check_output(output: &Path, force: bool, inputs: &[&Path]) -> anyhow::Result<()> {
    if inputs.iter().any(|input| same_file(output, input)) {
        bail!("{} is an input; give another output", output.display());
    }
    if output.exists() && !force {
        bail!("{} exists; give --force to replace it", output.display());
    }
    Ok(())
}
