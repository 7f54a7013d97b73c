//! A single file of a model, such as a converted file or a reference for it.

use std::path::PathBuf;

use crate::repository::with_repository;
use crate::{HubError, HubEvent, HubFile, HubSettings, Result};

/// Finds a file of a model in the cache, or downloads it there, and returns its path. `on_event` receives the progress
/// and notes. A file of git LFS is checked by its SHA-256, another one by its size.
///
/// # Errors
/// [`HubError`] if the file is not available or is damaged; [`HubError::NoFile`] if the model has no such file.
pub fn fetch_file(file: &HubFile, settings: &HubSettings, on_event: &dyn Fn(HubEvent<'_>)) -> Result<PathBuf> {
    with_repository(&file.model, settings, on_event, |repository, commit| {
        let path = file.path.as_str();
        match repository.file(commit, path, None)? {
            Some(cached) => {
                repository.check(commit, path, &cached, None)?;
                Ok(cached.path)
            }
            None if repository.is_offline() && !repository.is_known_absent(commit, path) => {
                Err(repository.not_cached(path.to_string()))
            }
            None => Err(HubError::NoFile {
                repo: repository.name.to_string(),
                revision: commit.to_string(),
                file: path.to_string(),
            }),
        }
    })
}
