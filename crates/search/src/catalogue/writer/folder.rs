//! The check of a folder in which a catalogue is to be made: somebody's music is not the place.

use std::fs;
use std::path::Path;

use crate::catalogue::manifest;
use crate::{Result, SearchError};

/// The names of what an interrupted first addition leaves.
const OURS: [&str; 3] = ["lock", "staging", "parts"];

/// Refuses a folder that has other files and no catalogue.
pub(super) fn check(folder: &Path) -> Result<()> {
    let refused = |found: String| Err(SearchError::NotACatalogue { path: folder.to_path_buf(), found });
    match fs::metadata(folder) {
        Err(_) => return Ok(()),
        Ok(found) if !found.is_dir() => return refused("it is a file".into()),
        Ok(_) => {}
    }
    if folder.join(manifest::FILE).exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder).map_err(SearchError::io(folder))?.flatten();
    let is_ours = |name: &str| {
        OURS.contains(&name)
            || name.starts_with("statistics-") && name.ends_with(".safetensors")
            || name.starts_with('.') && name.ends_with(".partial")
    };
    match entries.find(|entry| !entry.file_name().to_str().is_some_and(is_ours)) {
        Some(other) => {
            let name = mert_table::printable_path(other.file_name().as_ref());
            refused(format!("it has no {}, and other files, such as {name}", manifest::FILE))
        }
        None => Ok(()),
    }
}
