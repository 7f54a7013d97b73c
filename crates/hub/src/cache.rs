//! The cache of one model, in the layout that all clients of the hub share
//! (<https://huggingface.co/docs/hub/local-cache>): `models--owner--name/{refs,blobs,snapshots,.no_exist}`, and `.locks`
//! beside it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use mert_fs::is_sha256;

use crate::name::is_commit;
use crate::{HubError, Result};

/// The folders of one model in the cache.
pub(crate) struct ModelCache {
    /// `models--owner--name`.
    folder: PathBuf,
    /// `.locks/models--owner--name`.
    locks: PathBuf,
    revision: String,
}

impl ModelCache {
    pub(crate) fn new(cache: &Path, repo: &str, revision: &str) -> ModelCache {
        let name = format!("models--{}", repo.replace('/', "--"));
        ModelCache {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
            revision: revision.to_string(),
        }
    }

    /// The commit of the revision when it was last looked up.
    pub(crate) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let commit = fs::read_to_string(self.reference()).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_commit(commit))
    }

    pub(crate) fn remember_commit(&self, commit: &str) -> Result<()> {
        if is_commit(&self.revision) || self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference();
        // A revision such as refs/pr/1 has folders of its own.
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, commit)).map_err(HubError::write(&path))
    }

    fn reference(&self) -> PathBuf {
        self.folder.join("refs").join(&self.revision)
    }

    fn pointer(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit).join(file)
    }

    /// The path of a file of a commit, if it is in the cache.
    pub(crate) fn file(&self, commit: &str, file: &str) -> Option<PathBuf> {
        Some(self.pointer(commit, file)).filter(|path| path.is_file())
    }

    /// Whether the cache records that the commit has no such file.
    pub(crate) fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absence_mark(commit, file).is_file()
    }

    /// Records that the commit has no such file. This only saves a request, so a failure is ignored.
    pub(crate) fn remember_absent(&self, commit: &str, file: &str) {
        let mark = self.absence_mark(commit, file);
        let _ = fs::create_dir_all(mark.parent().unwrap_or(&self.folder)).and_then(|()| File::create(&mark));
    }

    fn absence_mark(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(file)
    }

    /// The path of complete bytes, which are named by their ETag.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The path of bytes that are not complete yet, a prefix of the blob.
    pub(crate) fn partial(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Locks a blob against other writers until the returned file is dropped. `on_wait` is called if another process holds
    /// the lock.
    pub(crate) fn lock(&self, etag: &str, on_wait: impl FnOnce()) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        let lock = || {
            fs::create_dir_all(&self.locks)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            if file.try_lock().is_err() {
                on_wait();
                match file.lock() {
                    // Some network filesystems have no locks. A blob is checked before it gets its name in any case.
                    Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
                    _ => {}
                }
            }
            Ok(file)
        };
        lock().map_err(HubError::write(&path))
    }

    /// Links a file of the commit to its blob, and returns the link. The link is renamed into place, because other
    /// processes may be reading an earlier one.
    pub(crate) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf> {
        let pointer = self.pointer(commit, file);
        let folder = pointer.parent().unwrap_or(&self.folder);
        let link = || {
            fs::create_dir_all(folder)?;
            let temporary = folder.join(format!(".{etag}.{}", std::process::id()));
            let _ = fs::remove_file(&temporary);
            self.link_blob(file, etag, &temporary)?;
            fs::rename(&temporary, &pointer)
        };
        link().map_err(HubError::write(&pointer))?;
        Ok(pointer)
    }

    #[cfg(unix)]
    fn link_blob(&self, file: &str, etag: &str, link: &Path) -> io::Result<()> {
        // From snapshots/COMMIT up to the model's folder, and one step more for each folder of the file's path.
        let up = "../".repeat(2 + file.matches('/').count());
        std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(etag), link)
    }

    /// Windows allows symbolic links only with privileges.
    #[cfg(not(unix))]
    fn link_blob(&self, _file: &str, etag: &str, link: &Path) -> io::Result<()> {
        let blob = self.blob(etag);
        fs::hard_link(&blob, link).or_else(|_| fs::copy(&blob, link).map(drop))
    }
}

/// The blob that a file of a snapshot links to, and its SHA-256 if the blob is named by it, as those of git LFS are.
pub(crate) fn blob_of(path: &Path) -> (PathBuf, Option<String>) {
    let Ok(blob) = fs::canonicalize(path) else { return (path.to_path_buf(), None) };
    let in_blobs = blob.parent().and_then(Path::file_name).is_some_and(|folder| folder == "blobs");
    let name = blob.file_name().and_then(|name| name.to_str()).filter(|name| in_blobs && is_sha256(name));
    let sha256 = name.map(str::to_string);
    (blob, sha256)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn files_in_folders_and_revisions_with_slashes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(folder.path(), "owner/name", "refs/pr/1");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        cache.remember_commit(commit).unwrap();
        assert_eq!(cache.commit().as_deref(), Some(commit));
        let model = folder.path().join("models--owner--name");
        assert_eq!(fs::read_to_string(model.join("refs/refs/pr/1")).unwrap(), commit);

        fs::create_dir_all(model.join("blobs")).unwrap();
        for file in ["config.json", "references/long/clip.npz"] {
            fs::write(cache.blob("etag"), file).unwrap();
            assert_eq!(cache.file(commit, file), None);
            let path = cache.link(commit, file, "etag").unwrap();
            assert_eq!(path, model.join("snapshots").join(commit).join(file));
            assert_eq!(fs::read_to_string(cache.file(commit, file).unwrap()).unwrap(), file);
            assert!(!cache.is_absent(commit, file));
        }
        cache.remember_absent(commit, "references/none.npz");
        assert!(cache.is_absent(commit, "references/none.npz"));
    }
}
