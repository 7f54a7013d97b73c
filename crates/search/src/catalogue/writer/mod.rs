//! Changes of a catalogue. One process at a time holds the lock; a change is new files, and then a new manifest.

mod add;
mod compact;
mod edit;
mod folder;
pub(super) mod leftovers;
mod statistics;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use fixedbitset::FixedBitSet;
use mert_table::Provenance;

pub use self::add::Added;
pub use self::leftovers::Freed;
use super::Catalogue;
use super::manifest::{FileDigest, FileEntry, Manifest};
use super::statistics::Statistics;
use crate::{Result, SearchError};

/// The file whose lock the process that changes a catalogue holds.
const LOCK: &str = "lock";

/// The right to change a catalogue, which one process has at a time.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    catalogue: Option<Catalogue>,
    /// The places of the models that the next change records.
    models: Option<Vec<PathBuf>>,
    /// What was removed from the disk so far.
    freed: Freed,
    lock: File,
}

impl Drop for Writer {
    /// Releases the lock at once: closing the file would leave it to a child process that is just being started, which has
    /// a copy of it until then.
    fn drop(&mut self) {
        // Only a file system that lost the lock refuses.
        let _ = self.lock.unlock();
    }
}

impl Writer {
    /// Opens the catalogue in `folder`, which is created if there is none, for changes. Files that a killed process has left
    /// are removed.
    ///
    /// # Errors
    /// [`SearchError::NotACatalogue`] for a file, and for a folder that is not empty and has no catalogue;
    /// [`SearchError::Locked`] if another process changes it, [`SearchError::Unwritable`] if this user cannot, and those of
    /// reading it.
    pub fn open(folder: &Path) -> Result<Self> {
        folder::check(folder)?;
        fs::create_dir_all(folder).map_err(SearchError::io(folder))?;
        let lock = lock(folder)?;
        let manifest = match Manifest::read(folder) {
            Err(SearchError::NoCatalogue { .. }) => None,
            manifest => Some(manifest?),
        };
        let freed = leftovers::remove(folder, manifest.as_ref())?;
        let catalogue = manifest.map(|manifest| Catalogue::with_manifest(folder, manifest, None)).transpose()?;
        Ok(Writer { folder: folder.to_path_buf(), catalogue, models: None, freed, lock })
    }

    /// Opens a catalogue that exists for changes.
    ///
    /// # Errors
    /// [`SearchError::NoCatalogue`], and those of [`Writer::open`].
    pub fn open_existing(folder: &Path) -> Result<Self> {
        Manifest::read(folder)?;
        Writer::open(folder)
    }

    /// The catalogue as it is now; `None` if it is new.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.catalogue.as_ref()
    }

    /// The settings of the rows; `None` if the catalogue is new.
    pub fn settings(&self) -> Option<&Provenance> {
        self.catalogue().map(Catalogue::settings)
    }

    /// The folder of the catalogue.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files that were removed from the disk since the catalogue was opened: of earlier states, or of changes that were
    /// interrupted.
    pub fn freed(&self) -> Freed {
        self.freed
    }

    /// Remembers the places of the models, one for each encoder: paths, or names on the hub. The next change records them.
    pub fn remember_models(&mut self, models: &[PathBuf]) {
        self.models = Some(models.to_vec());
    }

    /// Records the places of the models that have been remembered, if they are others than before.
    ///
    /// # Errors
    /// [`SearchError::Write`].
    pub fn record_models(&mut self) -> Result<()> {
        let Some((manifest, models)) = self.manifest().zip(self.models.as_ref()) else { return Ok(()) };
        if manifest.models() == *models { Ok(()) } else { self.commit(manifest.next()) }
    }

    /// Removes tracks by their numbers, and returns how many were there. Their rows stay on the disk until the catalogue is
    /// compacted.
    ///
    /// # Errors
    /// Those of writing the manifest.
    pub fn remove(&mut self, tracks: &FixedBitSet) -> Result<usize> {
        let Some(catalogue) = &self.catalogue else { return Ok(0) };
        let mut gone = tracks.clone();
        gone.intersect_with(catalogue.live());
        let removed = gone.count_ones(..);
        if removed > 0 {
            let mut manifest = catalogue.manifest().next();
            mark_removed(catalogue, &mut manifest, &gone);
            self.commit(manifest)?;
        }
        Ok(removed)
    }

    fn manifest(&self) -> Option<&Manifest> {
        self.catalogue().map(Catalogue::manifest)
    }

    /// Writes statistics if they are due, and then the manifest.
    fn commit(&mut self, mut manifest: Manifest) -> Result<()> {
        if let Some(models) = &self.models {
            manifest.set_models(models);
        }
        // A part of removed tracks only is of no use.
        manifest.parts.retain(|entry| entry.removed.len() < entry.tracks);
        let none = Some(Statistics::default());
        let mut catalogue = Catalogue::with_manifest(&self.folder, manifest.clone(), none)?;
        let before = self.catalogue.as_ref().map_or(0, |catalogue| catalogue.statistics().segments);
        let is_compacted = self.catalogue.as_ref().is_none_or(|before| !before.shares_parts_with(&manifest));
        if is_compacted || catalogue.live_segments().abs_diff(before) * 10 > before {
            let path = format!("statistics-{:06}.safetensors", manifest.generation);
            let statistics = Statistics::of(&catalogue);
            statistics.write(&self.folder.join(&path))?;
            manifest.statistics = FileEntry { digest: FileDigest::of(&self.folder.join(&path))?, path };
            catalogue.set_statistics(manifest.clone(), statistics);
        } else if let Some(before) = &self.catalogue {
            catalogue.set_statistics(manifest.clone(), before.statistics().clone());
        }
        manifest.write(&self.folder)?;
        self.catalogue = Some(catalogue);
        self.freed.add(leftovers::remove(&self.folder, Some(&manifest))?);
        Ok(())
    }
}

/// Takes the lock of the catalogue in `folder`.
fn lock(folder: &Path) -> Result<File> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};

    let path = folder.join(LOCK);
    let lock = File::options().create(true).append(true).open(&path).map_err(|source| match source.kind() {
        PermissionDenied | ReadOnlyFilesystem => SearchError::Unwritable { path: folder.to_path_buf(), source },
        _ => SearchError::io(&path)(source),
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SearchError::Locked { path: folder.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(SearchError::Io { path, source }),
    }
}

/// Records tracks of `catalogue` as removed, in the manifest of its next state.
fn mark_removed(catalogue: &Catalogue, manifest: &mut Manifest, tracks: &FixedBitSet) {
    for track in tracks.ones() {
        let (part, index) = catalogue.place(track);
        if let Some(entry) = manifest.parts.get_mut(part) {
            entry.removed.push(index);
        }
    }
    for entry in &mut manifest.parts {
        entry.removed.sort_unstable();
        entry.removed.dedup();
    }
}
