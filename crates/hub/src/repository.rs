//! One model of the hub at one revision: its commit and its files, from the cache first and then from the server.

use std::path::PathBuf;

use mert_arch::{CONFIG_FILE, KNOWN_CHECKPOINTS, KnownCheckpoint};
use mert_fs::{is_sha256, sha256_file};

use crate::cache::{ModelCache, blob_of};
use crate::client::Client;
use crate::download::Download;
use crate::response::{FileInfo, Lookup};
use crate::{HubError, HubEvent, HubName, HubSettings, Result};

/// A file in the cache.
pub(crate) struct CachedFile {
    pub(crate) path: PathBuf,
    /// The SHA-256 of the file, if this run has downloaded and checked it.
    sha256: Option<String>,
}

/// A model of the hub at a revision.
pub(crate) struct Repository<'a> {
    /// Owner and name.
    pub(crate) name: &'a str,
    revision: &'a str,
    settings: &'a HubSettings,
    cache: ModelCache,
    /// `None` if only the cache may be used.
    client: Option<Client<'a>>,
}

/// Runs `find` on the repository and commit that `name` names. If the server cannot be reached, `find` runs again on the
/// cache alone, with a note.
pub(crate) fn with_repository<T>(
    name: &HubName,
    settings: &HubSettings,
    on_event: &dyn Fn(HubEvent<'_>),
    find: impl Fn(&Repository<'_>, &str) -> Result<T>,
) -> Result<T> {
    // A known checkpoint is pinned to the commit whose conversion is tested.
    let known = KNOWN_CHECKPOINTS.iter().find(|known| known.name.eq_ignore_ascii_case(&name.repo));
    let repo = known.map_or(name.repo.as_str(), |known| known.name);
    let revision = match (&name.revision, known) {
        (Some(revision), _) => revision.as_str(),
        (None, known) => known.and_then(|known| known.revision).unwrap_or("main"),
    };
    let attempt = |is_online: bool| {
        let client = is_online.then(|| Client::new(settings, repo, on_event));
        let cache = ModelCache::new(&settings.cache, repo, revision);
        let repository = Repository { name: repo, revision, settings, cache, client };
        let commit = repository.commit()?;
        find(&repository, &commit).map(|found| (found, commit))
    };
    let found = match attempt(settings.offline.is_none()) {
        Err(unreachable) if unreachable.is_unreachable() => match attempt(false) {
            Ok((found, commit)) => {
                let used = format!("{}. The cache of {repo} at {commit} is used instead", unreachable.without_advice());
                on_event(HubEvent::Note(used));
                Ok(found)
            }
            // The network's error explains more than what the cache lacks.
            Err(HubError::NotCached { .. }) => Err(unreachable),
            Err(other) => Err(other),
        },
        other => other.map(|(found, _)| found),
    };
    found.map_err(|error| match error {
        error if !name.explicit && error.is_model_in_doubt() => {
            HubError::NeitherFileNorModel { input: name.to_string(), source: Box::new(error) }
        }
        other => other,
    })
}

impl Repository<'_> {
    /// Whether only the cache may be used.
    pub(crate) fn is_offline(&self) -> bool {
        self.client.is_none()
    }

    /// The commit of the revision.
    fn commit(&self) -> Result<String> {
        let cached = self.cache.commit();
        let Some(client) = &self.client else {
            return cached.ok_or_else(|| self.not_cached("every file".into()));
        };
        if let Some(commit) = cached.filter(|commit| commit == self.revision) {
            return Ok(commit);
        }
        let commit = match client.look_up(self.revision, CONFIG_FILE)? {
            Lookup::File(info) => Some(info.commit),
            Lookup::NoFile { commit } => commit,
        };
        let commit = commit.ok_or_else(|| {
            let what = format!("`{CONFIG_FILE}` at revision `{}` of the model `{}`", self.revision, self.name);
            self.not_found(what, "check the revision")
        })?;
        self.cache.remember_commit(&commit)?;
        Ok(commit)
    }

    /// A file of the commit, from the cache or else from the hub; `None` if the commit has no such file, or if it is not in
    /// the cache and only the cache may be used.
    pub(crate) fn file(&self, commit: &str, file: &str, known: Option<&KnownCheckpoint>) -> Result<Option<CachedFile>> {
        if let Some(path) = self.cache.file(commit, file) {
            return Ok(Some(CachedFile { path, sha256: None }));
        }
        let Some(client) = &self.client else { return Ok(None) };
        if self.cache.is_absent(commit, file) {
            return Ok(None);
        }
        let Some(info) = self.look_up(client, commit, file)? else { return Ok(None) };
        // A file that is not the known one is refused without downloading it.
        if let Some(known) = known {
            self.check_announced(known, &info)?;
        }
        let sha256 = Download::new(client, &self.cache, self.name, file, &info).run()?;
        let path = self.cache.link(commit, file, &info.etag)?;
        Ok(Some(CachedFile { path, sha256 }))
    }

    /// The hub's announcement of a file, or `None` if the commit has none, which is then remembered.
    fn look_up(&self, client: &Client<'_>, commit: &str, file: &str) -> Result<Option<FileInfo>> {
        match client.look_up(commit, file)? {
            Lookup::NoFile { commit: stated } => {
                // A bare 404 may have another reason, and other programs would rely on the record.
                if stated.is_some() {
                    self.cache.remember_absent(commit, file);
                }
                Ok(None)
            }
            Lookup::File(info) => Ok(Some(info)),
        }
    }

    /// The size of a file, if it is known, and whether the cache has it; `None` if the commit has no such file, or if it is not in
    /// the cache and only the cache may be used.
    pub(crate) fn info(&self, commit: &str, file: &str) -> Result<Option<(Option<u64>, bool)>> {
        if let Some(path) = self.cache.file(commit, file) {
            let size = std::fs::metadata(&path).map_err(HubError::read(&path))?.len();
            return Ok(Some((Some(size), true)));
        }
        let Some(client) = self.client.as_ref().filter(|_| !self.cache.is_absent(commit, file)) else {
            return Ok(None);
        };
        Ok(self.look_up(client, commit, file)?.map(|info| (info.size, false)))
    }

    /// The error for a shard that an index names and the commit does not have, or not the cache.
    pub(crate) fn missing_shard(&self, commit: &str, shard: &str) -> HubError {
        if self.is_offline() {
            return self.not_cached(shard.to_string());
        }
        let what = format!("file `{shard}` in the model `{}` at {commit}, which its index names", self.name);
        self.not_found(what, "give another revision, whose files are complete")
    }

    /// Whether the cache records that the commit has no such file.
    pub(crate) fn is_known_absent(&self, commit: &str, file: &str) -> bool {
        self.cache.is_absent(commit, file)
    }

    fn check_announced(&self, known: &KnownCheckpoint, info: &FileInfo) -> Result<()> {
        let same = info.etag == known.sha256 && info.size.is_none_or(|size| size == known.bytes);
        if !is_sha256(&info.etag) || same {
            return Ok(());
        }
        let size = info.size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
        let advice =
            format!("{} serves another file than the published one; unset HF_ENDPOINT", self.settings.endpoint);
        let found = format!("sha256 {}{size}", info.etag);
        Err(self.mismatch(known.revision.unwrap_or(self.revision), known.file, expected(known), found, advice))
    }

    /// Checks the SHA-256 of a file with weights and returns it. It must be the known checkpoint's, or else the one that
    /// names the blob; `None` if neither is known.
    pub(crate) fn check(
        &self,
        commit: &str,
        name: &str,
        file: &CachedFile,
        known: Option<&KnownCheckpoint>,
    ) -> Result<Option<String>> {
        let (blob, named) = blob_of(&file.path);
        let Some(sha256) = known.map(|known| known.sha256.to_string()).or(named) else { return Ok(None) };
        if file.sha256.as_ref() == Some(&sha256) {
            return Ok(Some(sha256));
        }
        let found = sha256_file(&file.path).map_err(HubError::read(&file.path))?;
        if found == sha256 {
            return Ok(Some(sha256));
        }
        let bytes = std::fs::metadata(&file.path).map_err(HubError::read(&file.path))?.len();
        let expected = known.map_or(format!("sha256 {sha256}"), expected);
        let advice = format!("Remove {} and run again, which downloads it again", blob.display());
        Err(self.mismatch(commit, name, expected, format!("sha256 {found} ({bytes} bytes)"), advice))
    }

    fn mismatch(&self, revision: &str, file: &str, expected: String, found: String, advice: String) -> HubError {
        let file = format!("`{file}` of `{}` at {revision}", self.name);
        HubError::Mismatch { file, expected, found, advice }
    }

    pub(crate) fn not_found(&self, what: String, advice: &'static str) -> HubError {
        HubError::not_found(&self.settings.endpoint, what, advice)
    }

    pub(crate) fn not_cached(&self, missing: String) -> HubError {
        HubError::NotCached {
            variable: self.settings.offline.unwrap_or("HF_HUB_OFFLINE"),
            missing,
            repo: self.name.to_string(),
            revision: self.revision.to_string(),
            cache: self.settings.cache.clone(),
        }
    }
}

fn expected(known: &KnownCheckpoint) -> String {
    format!("sha256 {} ({} bytes)", known.sha256, known.bytes)
}
