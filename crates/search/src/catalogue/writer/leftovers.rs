//! The files that no manifest names, which killed processes and changes leave, and their removal.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mert_fs::remove_stale_temporaries;

use crate::catalogue::index::FOLDER;
use crate::catalogue::manifest::Manifest;
use crate::{Result, SearchError, count, size};

/// The age from which a temporary file in a cache cannot be one that a reader is writing.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Files and folders of a catalogue that its manifest does not name. The journal of an interrupted addition, which the next
/// one continues, is not among them.
#[derive(Debug, Default)]
pub(in crate::catalogue) struct Leftovers {
    paths: Vec<(PathBuf, Freed)>,
}

/// The number and size of files that were removed, or can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// The number of files.
    pub files: usize,
    /// The bytes of all of them.
    pub bytes: u64,
}

impl Freed {
    /// Whether there is nothing.
    pub fn is_empty(self) -> bool {
        self.files == 0
    }

    /// The size as text: `12.0 MB`, `3.4 kB`.
    pub fn size(self) -> String {
        size(self.bytes)
    }

    pub(super) fn add(&mut self, other: Freed) {
        self.files += other.files;
        self.bytes += other.bytes;
    }

    /// The file at `path`, or the files in the folder there.
    fn of(path: &Path) -> Self {
        let mut freed = Freed::default();
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                let entries = fs::read_dir(path).into_iter().flatten().flatten();
                entries.for_each(|entry| freed.add(Freed::of(&entry.path())));
            }
            Ok(found) => freed.add(Freed { files: 1, bytes: found.len() }),
            Err(_) => {}
        }
        freed
    }
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", count(self.files, "file"), self.size())
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut total = Freed::default();
        self.paths.iter().for_each(|(_, freed)| total.add(*freed));
        total.fmt(f)
    }
}

impl Leftovers {
    /// Finds what `manifest` does not name in the catalogue in `folder`.
    pub(in crate::catalogue) fn find(folder: &Path, manifest: Option<&Manifest>) -> Self {
        let mut found = Leftovers::default();
        found.temporaries_in(folder);
        found.temporaries_in(&folder.join("staging"));
        found.others(&folder.join("staging"), |name| name == "compacted.parquet");
        let parts = folder.join("parts");
        found.temporaries_in(&parts);
        let entries = manifest.map_or(&[][..], |manifest| &manifest.parts);
        let names: HashSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let is_part = |name: &str| name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
        found.others(&parts, |name| is_part(name) && !names.contains(name));
        for entry in entries {
            let part = parts.join(&entry.name);
            let is_table = |name: &str| name.starts_with("tracks") && name.ends_with(".parquet");
            found.others(&part, |name| is_table(name) && !entry.files.contains_key(name));
            let cached = format!("{}.safetensors", entry.tracks_table().trim_end_matches(".parquet"));
            let is_other = |name: &str| name.starts_with("tracks") && name.ends_with(".safetensors") && name != cached;
            found.others(&part.join(FOLDER), is_other);
        }
        let statistics = manifest.map_or("", |manifest| manifest.statistics.path.as_str());
        found.others(folder, |name| {
            name.starts_with("statistics-") && name.ends_with(".safetensors") && name != statistics
        });
        found
    }

    pub(in crate::catalogue) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Adds what is in `folder` and has a name that `is_left` knows.
    fn others(&mut self, folder: &Path, is_left: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(&is_left) {
                let path = entry.path();
                let freed = Freed::of(&path);
                self.paths.push((path, freed));
            }
        }
    }

    fn temporaries_in(&mut self, folder: &Path) {
        self.others(folder, |name| name.starts_with('.') && name.ends_with(".partial"));
    }
}

/// Removes what `manifest` does not name from the catalogue in `folder`, and returns how much that was. For the process that
/// holds the lock. Files that a reader still uses disappear when it ends; where the system does not allow that, they stay
/// until the next change.
pub(super) fn remove(folder: &Path, manifest: Option<&Manifest>) -> Result<Freed> {
    let found = Leftovers::find(folder, manifest);
    let staging = folder.join("staging");
    for folder in [folder.to_path_buf(), staging.clone(), folder.join("parts")] {
        if folder.is_dir() {
            remove_stale_temporaries(&folder).map_err(SearchError::io(&folder))?;
        }
    }
    let mut freed = Freed::default();
    for (path, size) in &found.paths {
        // Temporaries are gone by now.
        let _ = if path.is_dir() { remove_folder(path) } else { fs::remove_file(path) };
        if fs::symlink_metadata(path).is_err() {
            freed.add(*size);
        }
    }
    // Removes the folder if it is empty.
    let _ = fs::remove_dir(&staging);
    for entry in manifest.into_iter().flat_map(|manifest| &manifest.parts) {
        let part = folder.join("parts").join(&entry.name);
        let _ = remove_stale_temporaries_of_readers(&part);
        let _ = remove_stale_temporaries_of_readers(&part.join(FOLDER));
    }
    Ok(freed)
}

/// Removes a folder. It is renamed first, so that no reader takes half of it for a part without a cache; the name is that of
/// a temporary, which the next change removes if this process is killed.
fn remove_folder(path: &Path) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().display().to_string();
    let aside = path.with_file_name(format!(".{name}-removed.partial"));
    fs::rename(path, &aside)?;
    fs::remove_dir_all(&aside)
}

/// Removes temporary files and folders in `folder`, a part or its cache, if they are old.
fn remove_stale_temporaries_of_readers(folder: &Path) -> std::io::Result<()> {
    let newest = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b".partial"))
        .filter_map(|entry| entry.metadata().and_then(|found| found.modified()).ok())
        .max();
    match newest.and_then(|newest| newest.elapsed().ok()) {
        Some(age) if age > STALE => remove_stale_temporaries(folder),
        _ => Ok(()),
    }
}
