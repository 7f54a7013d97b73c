//! Reading of configuration files and indexes, in any encoding that [`text_from_bytes`] supports.

use std::path::Path;

use mert_arch::text_from_bytes;

use crate::{CheckpointError, Result};

/// The text of a configuration file that the user named, whose usual name is `name`.
///
/// # Errors
/// [`CheckpointError::NotText`] for a folder or undecodable bytes, [`CheckpointError::Open`] if it cannot be read.
pub fn read_named_text(path: &Path, name: &str) -> Result<String> {
    if path.is_dir() {
        let reason = format!("it is a folder; give the file, such as {}", path.join(name).display());
        return Err(CheckpointError::not_text(path, reason));
    }
    read_text(path)
}

/// The text of a file.
///
/// # Errors
/// The errors of [`read_named_text`].
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::open(path, source))?;
    text_from_bytes(&bytes).map_err(|reason| CheckpointError::not_text(path, reason))
}
