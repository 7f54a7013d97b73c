//! The input of a conversion: the weights and the configuration files beside them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use mert_arch::{
    CONFIG_FILE, KNOWN_CHECKPOINTS, KnownCheckpoint, PREPROCESSOR_FILES, known_by_sha256, text_from_bytes,
};
use mert_fs::{combine_sha256, is_sha256, sha256_mapped};
use rayon::prelude::*;

use crate::locate::{Located, beside, locate};
use crate::{Checkpoint, CheckpointError, Listing, Result, ShardedCheckpoint, open_file, unwrap};

/// The input of a conversion: a checkpoint file or a model folder, with its `config.json` if there
/// is one.
pub struct Source {
    /// What the user named.
    pub path: PathBuf,
    /// The files that hold the weights, in a fixed order.
    pub files: Vec<PathBuf>,
    /// The `config.json` in the folder, or beside the checkpoint file.
    pub config_file: Option<PathBuf>,
    /// The `preprocessor_config.json` of the model, and the `processor_config.json` in which transformers 5 nests it; as
    /// many of them as there are.
    pub preprocessor_files: Vec<PathBuf>,
    /// Notes about files that were read without being named by the user, one sentence each.
    pub notes: Vec<String>,
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

    /// As [`Source::open`]; `key` names the dictionary to use in a pickle that holds several models.
    ///
    /// # Errors
    /// [`CheckpointError`] if there is no readable checkpoint.
    pub fn open_key(path: &Path, key: Option<&str>) -> Result<Self> {
        let Located { weights, folder, note } = locate(path)?;
        let config_file = beside(&folder, CONFIG_FILE)?;
        let mut preprocessor_files = Vec::new();
        for name in PREPROCESSOR_FILES {
            preprocessor_files.extend(beside(&folder, name)?);
        }

        let is_index = weights.to_str().is_some_and(|name| name.ends_with(".index.json"));
        if is_index && key.is_some() {
            return Err(CheckpointError::KeyWithoutDictionaries { path: weights });
        }
        let checkpoint: Box<dyn Checkpoint> =
            if is_index { Box::new(ShardedCheckpoint::open(&weights)?) } else { open_file(&weights, key)? };
        let checkpoint = unwrap(&weights, checkpoint)?;
        let files = checkpoint.files().iter().map(|file| file.path().to_path_buf()).collect();
        let (path, sha256) = (path.to_path_buf(), OnceLock::new());
        let notes = note.into_iter().collect();
        Ok(Source { path, files, config_file, preprocessor_files, notes, checkpoint, sha256 })
    }

    /// What the checkpoint holds.
    pub fn listing(&self) -> &Listing {
        self.checkpoint.listing()
    }

    /// The checkpoint's reader.
    pub fn checkpoint(&self) -> &dyn Checkpoint {
        self.checkpoint.as_ref()
    }

    /// Takes `sha256`, 64 lower-case hexadecimal digits, for what [`Source::sha256`] would compute, from a
    /// caller who has just checked it: half of a conversion's time is this digest.
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

    /// The SHA-256 of the weights file in hexadecimal; of several, of their digests one per line. `None` if
    /// `cancelled` is set before it is known.
    pub fn sha256(&self, cancelled: &AtomicBool) -> Option<String> {
        if let Some(known) = self.sha256.get() {
            return Some(known.clone());
        }
        let files = self.checkpoint.files();
        let digests: Option<Vec<String>> = files.par_iter().map(|file| sha256_mapped(file, cancelled)).collect();
        digests.map(combine_sha256)
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

/// The text of a configuration file that the user named, which is usually called `name`.
pub fn read_given(path: &Path, name: &str) -> Result<String> {
    if path.is_dir() {
        let reason = format!("it is a folder; give the file, such as {}", path.join(name).display());
        return Err(CheckpointError::NotText { path: path.to_path_buf(), reason });
    }
    read_text(path)
}

/// The text of a configuration file, in any encoding supported by [`text_from_bytes`].
pub fn read_text(path: &Path) -> Result<String> {
    let open = |source| CheckpointError::Open { path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(open)?;
    text_from_bytes(&bytes).map_err(|reason| CheckpointError::NotText { path: path.to_path_buf(), reason })
}
