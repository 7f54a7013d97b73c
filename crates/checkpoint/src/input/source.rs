//! The input of a conversion: the weights and the configuration files beside them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use mert_arch::{CONFIG_FILE, KNOWN_CHECKPOINTS, KnownCheckpoint, PREPROCESSOR_FILES, known_by_sha256};
use mert_fs::{MappedFile, combine_sha256, is_sha256, sha256_mapped};
use rayon::prelude::*;

use super::locate::{Location, find_file, locate};
use crate::adapter::{Adapter, AdapterOptions, Found, without_adapters};
use crate::checkpoint::{Checkpoint, Listing};
use crate::open::open_file;
use crate::renamed::with_hugging_face_names;
use crate::sharded::{ShardedCheckpoint, is_index};
use crate::unwrapped::without_wrappers;
use crate::{CheckpointError, Result};

/// The input of a conversion: a checkpoint file or a model folder, with its `config.json` if there is one.
pub struct Source {
    /// The path that the user named.
    pub path: PathBuf,
    /// The files that hold the weights, in a fixed order.
    pub files: Vec<PathBuf>,
    /// The `config.json` in the folder, or beside the checkpoint file.
    pub config_file: Option<PathBuf>,
    /// The `preprocessor_config.json` of the model, and the `processor_config.json` in which transformers 5 nests it; as
    /// many of them as exist.
    pub preprocessor_files: Vec<PathBuf>,
    /// Notes about files that were read without being named by the user, one sentence each.
    pub notes: Vec<String>,
    /// The adapter that is to be merged.
    pub adapter: Option<Adapter>,
    checkpoint: Box<dyn Checkpoint>,
    /// The digest given to [`Source::trust_sha256`] or computed by [`Source::known`].
    sha256: OnceLock<String>,
}

impl Source {
    /// Opens a checkpoint file or a model folder.
    ///
    /// # Errors
    /// [`CheckpointError`] if there is no readable checkpoint.
    pub fn open(path: &Path) -> Result<Self> {
        Source::open_key(path, None)
    }

    /// Opens as [`Source::open`] does; `key` names the dictionary to use in a pickle that holds several models.
    ///
    /// # Errors
    /// [`CheckpointError`] if there is no readable checkpoint.
    pub fn open_key(path: &Path, key: Option<&str>) -> Result<Self> {
        Source::open_with(path, key, &AdapterOptions::default())
    }

    /// Opens as [`Source::open_key`] does, with an adapter that is to be merged, by the user's choice or because the
    /// checkpoint has one.
    ///
    /// # Errors
    /// [`CheckpointError`] if there is no readable checkpoint, or an adapter that cannot be merged.
    pub fn open_with(path: &Path, key: Option<&str>, options: &AdapterOptions) -> Result<Self> {
        let Location { weights, folder, note, adapter: beside } = locate(path)?;
        let config_file = find_file(&folder, CONFIG_FILE)?;
        let mut preprocessor_files = Vec::new();
        for name in PREPROCESSOR_FILES {
            preprocessor_files.extend(find_file(&folder, name)?);
        }

        let checkpoint: Box<dyn Checkpoint> = match (is_index(&weights), key) {
            (true, Some(_)) => return Err(CheckpointError::KeyWithoutDictionaries { path: weights }),
            (true, None) => Box::new(ShardedCheckpoint::open(&weights)?),
            (false, key) => open_file(&weights, key)?,
        };
        let checkpoint = without_wrappers(&weights, checkpoint)?;
        let (checkpoint, embedded) = without_adapters(&weights, checkpoint)?;
        let checkpoint = with_hugging_face_names(&weights, checkpoint)?;
        let found = Found { path, folder: &folder, beside, embedded };
        let (checkpoint, adapter, adapter_notes) = found.choose(checkpoint, options)?;
        let files = checkpoint.files().iter().map(|file| file.path().to_path_buf()).collect();
        let (path, sha256) = (path.to_path_buf(), OnceLock::new());
        let notes = note.into_iter().chain(adapter_notes).collect();
        Ok(Source { path, files, config_file, preprocessor_files, notes, adapter, checkpoint, sha256 })
    }

    /// The contents of the checkpoint.
    pub fn listing(&self) -> &Listing {
        self.checkpoint.listing()
    }

    /// The checkpoint's reader.
    pub fn checkpoint(&self) -> &dyn Checkpoint {
        self.checkpoint.as_ref()
    }

    /// Uses `sha256`, 64 lower-case hexadecimal digits, in place of the digest that [`Source::sha256`] would compute. It
    /// must come from a caller who has just verified it. The digest takes half of a conversion's time.
    ///
    /// # Errors
    /// [`CheckpointError::NotASha256`] for anything else.
    pub fn trust_sha256(&mut self, sha256: &str) -> Result<()> {
        if !is_sha256(sha256) {
            return Err(CheckpointError::NotASha256 { found: sha256.to_string() });
        }
        self.sha256 = OnceLock::from(sha256.to_string());
        Ok(())
    }

    /// The SHA-256 of the weights file in hexadecimal; for several files, the SHA-256 of their digests, one per line.
    /// `None` if `cancelled` is set before it is known.
    pub fn sha256(&self, cancelled: &AtomicBool) -> Option<String> {
        if let Some(known) = self.sha256.get() {
            return Some(known.clone());
        }
        digest(&self.checkpoint.files(), cancelled)
    }

    /// The files of the adapter that is to be merged; none for one in the checkpoint itself.
    pub fn adapter_files(&self) -> Vec<PathBuf> {
        self.checkpoint.adapter_files().iter().map(|file| file.path().to_path_buf()).collect()
    }

    /// The SHA-256 of the adapter's file in hexadecimal; `None` without an adapter, for one in the checkpoint itself, and if
    /// `cancelled` is set before it is known.
    pub fn adapter_sha256(&self, cancelled: &AtomicBool) -> Option<String> {
        let files = self.checkpoint.adapter_files();
        if files.is_empty() { None } else { digest(&files, cancelled) }
    }

    /// The published checkpoint with these bytes, if there is one. With `compute`, the SHA-256 is computed if it is
    /// unknown and the size matches such a checkpoint; [`Source::sha256`] reuses it.
    pub fn known(&self, compute: bool) -> Option<&'static KnownCheckpoint> {
        let bytes: u64 = self.checkpoint.files().iter().map(|file| file.bytes().len() as u64).sum();
        if self.sha256.get().is_none() && compute && KNOWN_CHECKPOINTS.iter().any(|known| known.bytes == bytes) {
            let sha256 = self.sha256(&AtomicBool::new(false))?;
            return known_by_sha256(self.sha256.get_or_init(|| sha256));
        }
        known_by_sha256(self.sha256.get()?)
    }
}

/// The SHA-256 of a file; for several, the SHA-256 of their digests, one per line. `None` if `cancelled` is set.
fn digest(files: &[&MappedFile], cancelled: &AtomicBool) -> Option<String> {
    let digests: Option<Vec<String>> = files.par_iter().map(|file| sha256_mapped(file, cancelled)).collect();
    digests.map(combine_sha256)
}
