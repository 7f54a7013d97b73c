//! Files that the user names: only regular ones are read.

use std::fs;
use std::path::Path;

use crate::{Result, SearchError};

/// Refuses what is not a regular file, or a link to one: reading a pipe may wait forever, and a folder has no content.
///
/// # Errors
/// [`SearchError::Io`] if there is nothing, [`SearchError::NotAFile`] for a folder, a pipe or a device.
pub fn require_regular_file(path: &Path) -> Result<()> {
    let kind = fs::metadata(path).map_err(SearchError::io(path))?.file_type();
    let refused = |found: &'static str| Err(SearchError::NotAFile { path: path.to_path_buf(), found });
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return refused("a folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if kind.is_fifo() {
            return refused("a pipe");
        }
        if kind.is_socket() {
            return refused("a socket");
        }
    }
    refused("a device")
}
