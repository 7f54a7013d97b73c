//! The files that make up a model: its configuration, its preprocessor, and its weights, in one file or in shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mert_arch::{
    ADAPTER_CONFIG_FILE, CONFIG_FILE, KNOWN_CHECKPOINTS, PREPROCESSOR_FILES, WEIGHT_FILES, json_from_text,
    text_from_bytes,
};
use serde::Deserialize;

use crate::repository::{CachedFile, Repository, with_repository};
use crate::{HubError, HubEvent, HubName, HubSettings, Result};

/// A model of the hub on this machine.
#[derive(Debug, Clone)]
pub struct HubModel {
    /// Owner and name, `m-a-p/MERT-v1-95M`.
    pub repo: String,
    /// The commit.
    pub commit: String,
    /// The weights, or the index of their shards, with `config.json` beside it.
    pub weights: PathBuf,
    /// The SHA-256 of each file with weights, in the order of their names, where it was checked.
    sha256: Vec<Option<String>>,
}

impl HubModel {
    /// The SHA-256 of each file with weights, in the order of their names; `None` unless all of them were checked.
    pub fn sha256(&self) -> Option<Vec<String>> {
        self.sha256.iter().cloned().collect()
    }
}

/// The index of a model's shards, as transformers writes it.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Finds a model in the cache, or downloads it there. `on_event` receives the progress and notes.
///
/// # Errors
/// [`HubError`] if the model is not available, or if its weights are not the expected ones.
pub fn fetch_model(name: &HubName, settings: &HubSettings, on_event: &dyn Fn(HubEvent<'_>)) -> Result<HubModel> {
    with_repository(name, settings, on_event, model)
}

/// The files of an encoder.
pub(crate) fn model(repository: &Repository<'_>, commit: &str) -> Result<HubModel> {
    let known = KNOWN_CHECKPOINTS.iter().find(|known| known.name == repository.name && known.revision == Some(commit));
    let config = repository.file(commit, CONFIG_FILE, None)?;
    // Offline, a config.json that is not cached is an error: the content of the cache must not decide whether the
    // architecture is inferred.
    if config.is_none() && repository.is_offline() && !repository.is_known_absent(commit, CONFIG_FILE) {
        return Err(repository.not_cached(CONFIG_FILE.into()));
    }
    // These files are used, or refused, when the weights are opened.
    for name in PREPROCESSOR_FILES.into_iter().chain([ADAPTER_CONFIG_FILE]) {
        repository.file(commit, name, None)?;
    }
    let candidates = known.map_or(WEIGHT_FILES.to_vec(), |known| vec![known.file]);
    for candidate in &candidates {
        let Some(weights) = repository.file(commit, candidate, known)? else { continue };
        let path = weights.path.clone();
        let files = match candidate.ends_with(".index.json") {
            true => shard_files(repository, commit, &path)?,
            false => vec![(candidate.to_string(), weights)],
        };
        let sha256: Result<_> = files.iter().map(|(name, file)| repository.check(commit, name, file, known)).collect();
        return Ok(HubModel {
            repo: repository.name.to_string(),
            commit: commit.to_string(),
            weights: path,
            sha256: sha256?,
        });
    }
    if repository.is_offline() {
        return Err(repository.not_cached(candidates.join(" or ")));
    }
    let (repo, revision) = (repository.name.to_string(), commit.to_string());
    Err(HubError::NoWeights { repo, revision, expected: candidates })
}

/// The shards that an index names, in the order of their names.
fn shard_files(repository: &Repository<'_>, commit: &str, index: &Path) -> Result<Vec<(String, CachedFile)>> {
    let mut files = Vec::new();
    for name in shards(index)? {
        match repository.file(commit, &name, None)? {
            Some(shard) => files.push((name, shard)),
            None => return Err(repository.missing_shard(commit, &name)),
        }
    }
    Ok(files)
}

/// The names of the shards in an index.
pub(crate) fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let bytes = std::fs::read(index).map_err(HubError::read(index))?;
    let text = text_from_bytes(&bytes).map_err(|reason| HubError::index(index, reason))?;
    let Index { weight_map } =
        json_from_text(&text).map_err(|error| HubError::index(index, format!("invalid shard index: {error}")))?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    match names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(name) => Err(HubError::index(index, format!("shard `{name}` is not a plain file name"))),
        None => Ok(names),
    }
}
