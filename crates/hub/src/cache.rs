use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::name::{is_commit, is_sha256};
use crate::{HubError, Result};

/// One model in the cache that every client of the hub shares:
/// `models--owner--name/{refs,blobs,snapshots,.no_exist}` and `.locks` beside it.
pub(crate) struct ModelCache {
    layout: CacheRepo,
    folder: PathBuf,
    locks: PathBuf,
    revision: String,
}

impl ModelCache {
    pub(crate) fn new(cache: &Path, repo: &str, revision: &str) -> ModelCache {
        let repo = Repo::with_revision(repo.to_string(), RepoType::Model, revision.to_string());
        let name = repo.folder_name();
        ModelCache {
            layout: Cache::new(cache.to_path_buf()).repo(repo),
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            revision: revision.to_string(),
        }
    }

    /// The commit that the revision was, when it was last asked for.
    pub(crate) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(&self.revision)).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_commit(commit))
    }

    pub(crate) fn remember_commit(&self, commit: &str) -> Result<()> {
        if is_commit(&self.revision) || self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        self.layout.create_ref(commit).map_err(|source| write_error(&self.folder.join("refs"), source))
    }

    pub(crate) fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        Some(self.layout.pointer_path(commit).join(name)).filter(|path| path.is_file())
    }

    /// Whether it is known that the commit has no such file.
    pub(crate) fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.folder.join(".no_exist").join(commit).join(name).is_file()
    }

    /// Only spares a request: that it could not be written is no failure.
    pub(crate) fn remember_absent(&self, commit: &str, name: &str) {
        let folder = self.folder.join(".no_exist").join(commit);
        let _ = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(name)));
    }

    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Where a file grows until it is complete: always a prefix of it.
    pub(crate) fn partial(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Keeps every other client from writing the blob until the file is dropped. `waiting` is called if one does.
    pub(crate) fn lock(&self, etag: &str, waiting: impl FnOnce()) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        let lock = || {
            fs::create_dir_all(&self.locks)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            if file.try_lock().is_err() {
                waiting();
                match file.lock() {
                    // Some network filesystems have no locks; what is complete is checked before it gets its name.
                    Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
                    _ => {}
                }
            }
            Ok(file)
        };
        lock().map_err(|source| write_error(&path, source))
    }

    /// Makes the blob the commit's file, in one step: others may be reading it.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf> {
        let snapshot = self.layout.pointer_path(commit);
        let pointer = snapshot.join(name);
        let link = || {
            fs::create_dir_all(&snapshot)?;
            let temporary = snapshot.join(format!(".{name}.{}", std::process::id()));
            let _ = fs::remove_file(&temporary);
            link_file(&self.blob(etag), etag, &temporary)?;
            fs::rename(&temporary, &pointer)
        };
        link().map_err(|source| write_error(&pointer, source))?;
        Ok(pointer)
    }
}

#[cfg(unix)]
fn link_file(_blob: &Path, etag: &str, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), pointer)
}

/// Symbolic links need privileges on Windows.
#[cfg(not(unix))]
fn link_file(blob: &Path, _etag: &str, pointer: &Path) -> io::Result<()> {
    fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(drop))
}

/// The blob that a file of a snapshot links to, and its SHA-256 as its name says it: that of files in git LFS does.
pub(crate) fn blob_of(path: &Path) -> (PathBuf, Option<String>) {
    let Ok(blob) = fs::canonicalize(path) else { return (path.to_path_buf(), None) };
    let in_blobs = blob.parent().and_then(Path::file_name).is_some_and(|folder| folder == "blobs");
    let name = blob.file_name().and_then(|name| name.to_str()).filter(|name| in_blobs && is_sha256(name));
    let sha256 = name.map(str::to_string);
    (blob, sha256)
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> HubError {
    HubError::Write { path: path.to_path_buf(), source }
}
