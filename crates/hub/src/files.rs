//! The files of a model one by one, for models that consist of other files than an encoder's configuration and weights.

use std::path::PathBuf;

use mert_arch::WEIGHT_FILES;

use crate::model::{model, shards};
use crate::repository::{Repository, with_repository};
use crate::{HubError, HubEvent, HubModel, HubName, HubSettings, Result};

/// The files of a model of the hub at one commit, from the cache or else from the server.
pub struct HubFiles<'a> {
    repository: &'a Repository<'a>,
    commit: &'a str,
}

/// A file of a model, before its bytes are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFileInfo {
    /// The path in the model.
    pub path: String,
    /// The size in bytes, if it is known.
    pub size: Option<u64>,
    /// Whether the cache has it.
    pub is_cached: bool,
}

/// Runs `find` on the files of a model. `on_event` receives the progress and notes. If the server cannot be reached, `find` runs
/// again on the cache alone.
///
/// # Errors
/// [`HubError`] if the model is not available, and those of `find`.
pub fn with_files<T>(
    name: &HubName,
    settings: &HubSettings,
    on_event: &dyn Fn(HubEvent<'_>),
    find: impl Fn(&HubFiles<'_>) -> Result<T>,
) -> Result<T> {
    with_repository(name, settings, on_event, |repository, commit| find(&HubFiles { repository, commit }))
}

impl HubFiles<'_> {
    /// Owner and name.
    pub fn repo(&self) -> &str {
        self.repository.name
    }

    /// The commit.
    pub fn commit(&self) -> &str {
        self.commit
    }

    /// A file, downloaded if need be; `None` if the model has none. A file of git LFS is checked by its SHA-256.
    ///
    /// # Errors
    /// [`HubError`]; [`HubError::NotCached`] if only the cache may be used, and does not record whether there is such a file.
    pub fn file(&self, path: &str) -> Result<Option<PathBuf>> {
        match self.repository.file(self.commit, path, None)? {
            Some(file) => {
                self.repository.check(self.commit, path, &file, None)?;
                Ok(Some(file.path))
            }
            None if self.is_in_doubt(path) => Err(self.repository.not_cached(path.to_string())),
            None => Ok(None),
        }
    }

    /// A file that the model must have.
    ///
    /// # Errors
    /// Those of [`HubFiles::file`], and [`HubError::NoFile`].
    pub fn required(&self, path: &str) -> Result<PathBuf> {
        let (repo, revision) = (self.repo().to_string(), self.commit.to_string());
        self.file(path)?.ok_or_else(|| HubError::NoFile { repo, revision, file: path.to_string() })
    }

    /// A file without its bytes; `None` if the model has none, or if only the cache may be used and does not have it.
    ///
    /// # Errors
    /// [`HubError`].
    pub fn info(&self, path: &str) -> Result<Option<HubFileInfo>> {
        let found = self.repository.info(self.commit, path)?;
        Ok(found.map(|(size, is_cached)| HubFileInfo { path: path.to_string(), size, is_cached }))
    }

    /// The files with the weights, without their bytes: the first of [`WEIGHT_FILES`] that the model has, and the shards if that is
    /// an index, which is downloaded.
    ///
    /// # Errors
    /// [`HubError::NoWeights`], and those of [`HubFiles::file`] and of reading an index.
    pub fn weights(&self) -> Result<Vec<HubFileInfo>> {
        for candidate in WEIGHT_FILES {
            let Some(found) = self.info(candidate)? else { continue };
            if !candidate.ends_with(".index.json") {
                return Ok(vec![found]);
            }
            let index = self.required(candidate)?;
            let mut files = vec![HubFileInfo { is_cached: true, ..found }];
            for shard in shards(&index)? {
                let found = self.info(&shard)?;
                files.push(found.ok_or_else(|| self.repository.missing_shard(self.commit, &shard))?);
            }
            return Ok(files);
        }
        if self.repository.is_offline() {
            return Err(self.repository.not_cached(WEIGHT_FILES.join(" or ")));
        }
        let (repo, revision) = (self.repo().to_string(), self.commit.to_string());
        Err(HubError::NoWeights { repo, revision, expected: WEIGHT_FILES.to_vec() })
    }

    /// The files of an encoder, as [`fetch_model`](crate::fetch_model) finds them.
    ///
    /// # Errors
    /// Those of [`fetch_model`](crate::fetch_model).
    pub fn model(&self) -> Result<HubModel> {
        model(self.repository, self.commit)
    }

    /// Whether only the cache may be used, and it does not know of the file.
    fn is_in_doubt(&self, path: &str) -> bool {
        self.repository.is_offline() && !self.repository.is_known_absent(self.commit, path)
    }
}
