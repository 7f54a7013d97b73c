//! Downloading a model from the hub into the cache, or finding it there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mert_arch::{
    ADAPTER_CONFIG_FILE, CONFIG_FILE, KNOWN_CHECKPOINTS, KnownCheckpoint, PREPROCESSOR_FILES, WEIGHT_FILES,
    json_from_text, text_from_bytes,
};
use serde::Deserialize;

use crate::cache::{ModelCache, blob_of};
use crate::client::{Answer, Client, FileInfo};
use crate::download::download;
use crate::name::is_sha256;
use crate::{HubError, HubEvent, HubModel, HubName, HubSettings};
use mert_fs::sha256_file;

use crate::Result;

/// A file in the cache.
struct Cached {
    path: PathBuf,
    /// Its SHA-256, if it was checked just now.
    sha256: Option<String>,
}

/// The names of an index's shards.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// One model on its way into the cache.
struct Fetch<'a> {
    repo: &'a str,
    revision: &'a str,
    settings: &'a HubSettings,
    cache: ModelCache,
    /// `None` where only the cache may be asked.
    client: Option<Client<'a>>,
}

/// Finds a model in the cache, or downloads it there. `on_event` receives the progress and notes.
///
/// # Errors
/// [`HubError`] if the model is not available or is not what it should be.
pub fn fetch(name: &HubName, settings: &HubSettings, watch: &dyn Fn(HubEvent<'_>)) -> Result<HubModel> {
    // The published checkpoint is the one whose conversion is known to be right.
    let known = KNOWN_CHECKPOINTS.iter().find(|known| known.name.eq_ignore_ascii_case(&name.repo));
    let repo = known.map_or(name.repo.as_str(), |known| known.name);
    let revision = match (&name.revision, known) {
        (Some(revision), _) => revision.as_str(),
        (None, Some(known)) => known.revision,
        (None, None) => "main",
    };
    let fetch = |online: bool| {
        let client = online.then(|| Client::new(settings, repo, watch));
        let cache = ModelCache::new(&settings.cache, repo, revision);
        Fetch { repo, revision, settings, cache, client }.model()
    };
    let model = fetch(settings.offline.is_none()).or_else(|error| match error {
        unreachable if unreachable.is_unreachable() => match fetch(false) {
            Ok(model) => {
                let used = format!("using what is in the cache of {repo} at {}", model.commit);
                watch(HubEvent::Note(format!("{unreachable}. Until then {used}")));
                Ok(model)
            }
            // Without the network there is no better error than the network's.
            Err(HubError::NotCached { .. }) => Err(unreachable),
            other => other,
        },
        other => Err(other),
    });
    model.map_err(|error| match error {
        error if !name.explicit && error.may_be_no_model() => {
            HubError::NeitherFileNorModel { input: name.to_string(), source: Box::new(error) }
        }
        other => other,
    })
}

impl Fetch<'_> {
    fn model(&self) -> Result<HubModel> {
        let commit = self.commit()?;
        let known = KNOWN_CHECKPOINTS.iter().find(|known| known.name == self.repo && known.revision == commit);
        let found = self.file(&commit, CONFIG_FILE, None)?.is_some();
        // An uncached config.json is an error offline: what happens to be cached must not decide whether the
        // architecture is inferred.
        if !found && self.client.is_none() && !self.cache.is_absent(&commit, CONFIG_FILE) {
            return Err(self.not_cached(CONFIG_FILE.into()));
        }
        // What lies in the snapshot is read, or refused, when the weights are opened.
        for name in PREPROCESSOR_FILES.into_iter().chain([ADAPTER_CONFIG_FILE]) {
            self.file(&commit, name, None)?;
        }
        let candidates = known.map_or(WEIGHT_FILES.to_vec(), |known| vec![known.file]);
        for candidate in &candidates {
            let Some(weights) = self.file(&commit, candidate, known)? else { continue };
            let shards = if candidate.ends_with(".index.json") { self.shards(&commit, &weights.path)? } else { vec![] };
            let files = if shards.is_empty() { vec![(candidate.to_string(), &weights)] } else { by_ref(&shards) };
            let checked: Result<_> = files.iter().map(|(name, file)| self.check(&commit, name, file, known)).collect();
            return Ok(HubModel {
                repo: self.repo.to_string(),
                commit,
                weights: weights.path.clone(),
                sha256: checked?,
            });
        }
        match self.client {
            Some(_) => {
                let (repo, revision) = (self.repo.to_string(), commit);
                Err(HubError::NoWeights { repo, revision, expected: candidates })
            }
            None => Err(self.not_cached(candidates.join(" or "))),
        }
    }

    /// The commit that the revision is.
    fn commit(&self) -> Result<String> {
        let cached = self.cache.commit();
        let Some(client) = &self.client else {
            return cached.ok_or_else(|| self.not_cached("every file".into()));
        };
        if let Some(commit) = cached.filter(|commit| commit == self.revision) {
            return Ok(commit);
        }
        let commit = match client.look_up(self.revision, CONFIG_FILE)? {
            Answer::File(info) => Some(info.commit),
            Answer::NoFile { commit } => commit,
        };
        let commit = commit.ok_or_else(|| HubError::NotFound {
            endpoint: self.settings.endpoint.clone(),
            what: format!("`{}` at revision `{}` of the model `{}`", CONFIG_FILE, self.revision, self.repo),
            advice: "a model has one",
        })?;
        self.cache.remember_commit(&commit)?;
        Ok(commit)
    }

    /// A file of the commit, from the cache or else from the hub; `None` if the commit has none, or the cache none and
    /// the hub may not be asked.
    fn file(&self, commit: &str, name: &str, known: Option<&KnownCheckpoint>) -> Result<Option<Cached>> {
        if let Some(path) = self.cache.file(commit, name) {
            return Ok(Some(Cached { path, sha256: None }));
        }
        let Some(client) = &self.client else { return Ok(None) };
        if self.cache.is_absent(commit, name) {
            return Ok(None);
        }
        match client.look_up(commit, name)? {
            Answer::NoFile { commit: certain } => {
                // A bare 404 may mean something else, and others would believe it.
                if certain.is_some() {
                    self.cache.remember_absent(commit, name);
                }
                Ok(None)
            }
            Answer::File(info) => {
                // What is not the known file need not be downloaded to be refused.
                if let Some(known) = known {
                    self.check_announced(known, &info)?;
                }
                let sha256 = download(client, &self.cache, self.repo, name, &info)?;
                let path = self.cache.link(commit, name, &info.etag)?;
                Ok(Some(Cached { path, sha256 }))
            }
        }
    }

    /// The shards that an index names, in the order of their names.
    fn shards(&self, commit: &str, index: &Path) -> Result<Vec<(String, Cached)>> {
        let damaged = |reason: String| HubError::Index { path: index.to_path_buf(), reason };
        let bytes = std::fs::read(index).map_err(|source| HubError::Read { path: index.to_path_buf(), source })?;
        let text = text_from_bytes(&bytes).map_err(damaged)?;
        let Index { weight_map } =
            json_from_text(&text).map_err(|error| damaged(format!("it is no shard index: {error}")))?;
        let names: BTreeSet<String> = weight_map.into_values().collect();
        let mut shards = Vec::new();
        for name in names {
            if Path::new(&name).file_name() != Some(name.as_ref()) {
                return Err(damaged(format!("shard `{name}` is not a plain file name")));
            }
            match (self.file(commit, &name, None)?, &self.client) {
                (Some(shard), _) => shards.push((name, shard)),
                (None, Some(_)) => {
                    return Err(HubError::NotFound {
                        endpoint: self.settings.endpoint.clone(),
                        what: format!("file `{name}` in the model `{}` at {commit}, which its index names", self.repo),
                        advice: "give another revision, whose files are complete",
                    });
                }
                (None, None) => return Err(self.not_cached(name)),
            }
        }
        Ok(shards)
    }

    fn check_announced(&self, known: &KnownCheckpoint, info: &FileInfo) -> Result<()> {
        let same = info.etag == known.sha256 && info.size.is_none_or(|size| size == known.bytes);
        if !is_sha256(&info.etag) || same {
            return Ok(());
        }
        let size = info.size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
        let advice =
            format!("{} serves something else than what was published; unset HF_ENDPOINT", self.settings.endpoint);
        Err(self.mismatch(known.revision, known.file, expected(known), format!("sha256 {}{size}", info.etag), advice))
    }

    /// The SHA-256 of a file with weights, which must be the known one, or else what the name of its blob says.
    fn check(
        &self,
        commit: &str,
        name: &str,
        file: &Cached,
        known: Option<&KnownCheckpoint>,
    ) -> Result<Option<String>> {
        let (blob, named) = blob_of(&file.path);
        let Some(sha256) = known.map(|known| known.sha256.to_string()).or(named) else { return Ok(None) };
        if file.sha256.as_ref() == Some(&sha256) {
            return Ok(Some(sha256));
        }
        let open_error = |source| HubError::Read { path: file.path.clone(), source };
        let found = sha256_file(&file.path).map_err(open_error)?;
        if found == sha256 {
            return Ok(Some(sha256));
        }
        let bytes = std::fs::metadata(&file.path).map_err(open_error)?.len();
        let expected = known.map_or(format!("sha256 {sha256}"), expected);
        let advice = format!("Remove {} and run again, which downloads it again", blob.display());
        Err(self.mismatch(commit, name, expected, format!("sha256 {found} ({bytes} bytes)"), advice))
    }

    fn mismatch(&self, revision: &str, file: &str, expected: String, found: String, advice: String) -> HubError {
        let file = format!("`{file}` of `{}` at {revision}", self.repo);
        HubError::Mismatch { file, expected, found, advice }
    }

    fn not_cached(&self, missing: String) -> HubError {
        HubError::NotCached {
            variable: self.settings.offline.unwrap_or("HF_HUB_OFFLINE"),
            missing,
            repo: self.repo.to_string(),
            revision: self.revision.to_string(),
            cache: self.settings.cache.clone(),
        }
    }
}

fn by_ref(shards: &[(String, Cached)]) -> Vec<(String, &Cached)> {
    shards.iter().map(|(name, file)| (name.clone(), file)).collect()
}

fn expected(known: &KnownCheckpoint) -> String {
    format!("sha256 {} ({} bytes)", known.sha256, known.bytes)
}
