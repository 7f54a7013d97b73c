//! The removal of files that no manifest names, which killed processes and compactions leave.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mert_fs::remove_stale_temporaries;

use crate::catalogue::index::FOLDER;
use crate::catalogue::manifest::Manifest;
use crate::{Result, SearchError};

/// The age from which a temporary file in a cache cannot be one that a reader is writing.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Removes what `manifest` does not name from the catalogue in `folder`. For the process that holds the lock. Files that a
/// reader still uses disappear when it ends; where the system does not allow that, they stay until the next change.
pub(super) fn remove(folder: &Path, manifest: Option<&Manifest>) -> Result<()> {
    remove_stale_temporaries(folder).map_err(SearchError::io(folder))?;
    let staging = folder.join("staging");
    if staging.is_dir() {
        remove_stale_temporaries(&staging).map_err(SearchError::io(&staging))?;
        remove_others(&staging, |name| name == "compacted.parquet");
        // Removes the folder if it is empty.
        let _ = fs::remove_dir(&staging);
    }
    let parts = folder.join("parts");
    if !parts.is_dir() {
        return Ok(());
    }
    remove_stale_temporaries(&parts).map_err(SearchError::io(&parts))?;
    let entries = manifest.map_or(&[][..], |manifest| &manifest.parts);
    let names: HashSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let is_part = |name: &str| name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
    remove_others(&parts, |name| is_part(name) && !names.contains(name));
    for entry in entries {
        let part = parts.join(&entry.name);
        let is_table = |name: &str| name.starts_with("tracks") && name.ends_with(".parquet");
        remove_others(&part, |name| is_table(name) && !entry.files.contains_key(name));
        let index = part.join(FOLDER);
        let cached = format!("{}.safetensors", entry.tracks_table().trim_end_matches(".parquet"));
        remove_others(&index, |name| name.starts_with("tracks") && name.ends_with(".safetensors") && name != cached);
        let _ = remove_stale_temporaries_of_readers(&index);
    }
    let statistics = manifest.map_or("", |manifest| manifest.statistics.path.as_str());
    remove_others(folder, |name| {
        name.starts_with("statistics-") && name.ends_with(".safetensors") && name != statistics
    });
    Ok(())
}

/// Removes the files and folders in `folder` whose names `is_left` says are left.
fn remove_others(folder: &Path, is_left: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(&is_left) {
            let path = entry.path();
            let _ = if path.is_dir() { remove_folder(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Removes a folder. It is renamed first, so that no reader takes half of it for a part without a cache; the name is that of
/// a temporary, which the next change removes if this process is killed.
fn remove_folder(path: &Path) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().display().to_string();
    let aside = path.with_file_name(format!(".{name}-removed.partial"));
    fs::rename(path, &aside)?;
    fs::remove_dir_all(&aside)
}

/// Removes temporary files in the cache in `index` that are old.
fn remove_stale_temporaries_of_readers(index: &Path) -> std::io::Result<()> {
    let newest = fs::read_dir(index)?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b".partial"))
        .filter_map(|entry| entry.metadata().and_then(|found| found.modified()).ok())
        .max();
    match newest.and_then(|newest| newest.elapsed().ok()) {
        Some(age) if age > STALE => remove_stale_temporaries(index),
        _ => Ok(()),
    }
}
