//! The list of temporary files and folders that exist, so that a signal handler can remove them: a signal ends the
//! process without running destructors.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::output::parent_folder;
use crate::{FsError, Result};

/// Temporary files and folders of this process.
static TEMPORARIES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn temporaries() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates a temporary file or folder and lists it in one step, so that there is no moment in which a signal would leave
/// it behind.
pub(crate) fn create<T>(make: impl FnOnce() -> Result<T>, path: impl Fn(&T) -> &Path) -> Result<T> {
    let mut temporaries = temporaries();
    let temporary = make()?;
    temporaries.insert(path(&temporary).to_path_buf());
    Ok(temporary)
}

/// A folder among the system's temporary files, removed with its content when this is dropped, or by
/// [`remove_temporaries`].
#[derive(Debug)]
pub struct TemporaryFolder(TempDir);

impl TemporaryFolder {
    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Creates a folder among the system's temporary files, whose name begins with `prefix`.
///
/// # Errors
/// [`FsError::Write`] for the folder of temporary files.
pub fn temporary_folder(prefix: &str) -> Result<TemporaryFolder> {
    let make = || tempfile::Builder::new().prefix(prefix).tempdir();
    let failed = |error: io::Error| FsError::write(&std::env::temp_dir(), error.kind().into());
    create(|| make().map(TemporaryFolder).map_err(failed), TemporaryFolder::path)
}

/// Makes a temporary file or folder beside `path` with `make`, under a hidden name and with the permissions `mode`, to
/// which the user's umask applies; tempfile's default would be private.
pub(crate) fn sibling<T>(
    path: &Path,
    mode: u32,
    make: impl FnOnce(&tempfile::Builder<'_, '_>, &Path) -> io::Result<T>,
) -> Result<T> {
    let folder = parent_folder(path);
    if !folder.is_dir() {
        let reason = io::Error::other(format!("there is no folder {}", folder.display()));
        return Err(FsError::write(path, reason));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    // The error of tempfile holds the temporary name, which the user has not given.
    make(&builder, folder).map_err(|error| FsError::write(path, error.kind().into()))
}

/// Runs `rename`, which gives a temporary file or folder its final name, unless it has been removed. A signal handler
/// that runs meanwhile waits, and finds nothing to remove.
pub(crate) fn commit(path: &Path, rename: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut temporaries = temporaries();
    if !temporaries.remove(path) {
        return Err(FsError::write(path, io::Error::other("the program was interrupted")));
    }
    rename()
}

/// Removes all temporary files and folders of this process, then runs `end`, which ends it. No new ones are created until
/// `end` returns. For signal handlers.
pub fn remove_temporaries<T>(end: impl FnOnce() -> T) -> T {
    let mut temporaries = temporaries();
    while let Some(path) = temporaries.pop_first() {
        // Another thread may be filling a folder while it is emptied; its next write fails. A failure here cannot be
        // reported any more.
        for _ in 0..100 {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if removed.is_ok() || !path.exists() {
                break;
            }
        }
    }
    end()
}

/// Held by tests that remove temporaries: they would remove each other's.
#[cfg(test)]
pub(crate) static ALONE: Mutex<()> = Mutex::new(());
