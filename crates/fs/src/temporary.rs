//! Temporary files and folders: their names, the list of those that exist, so that a signal handler can remove them (a
//! signal ends the process without running destructors), and the removal of those that a killed process has left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::output::parent_folder;
use crate::{FsError, Result};

/// The start of a temporary's name, which hides it.
const PREFIX: &str = ".";

/// The end of a temporary's name.
const SUFFIX: &str = ".partial";

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

/// Creates a hidden folder beside `path`, on the same disk.
///
/// # Errors
/// [`FsError::Write`] for `path`.
pub fn temporary_folder_beside(path: &Path) -> Result<TemporaryFolder> {
    let make = || sibling(path, 0o700, |builder, folder| builder.tempdir_in(folder));
    create(|| make().map(TemporaryFolder), TemporaryFolder::path)
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
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    make(&builder, folder).map_err(|error| FsError::write(path, os_error(&error)))
}

/// The operating system's error in one of tempfile, whose text also has the temporary name, which the user has not given.
fn os_error(error: &io::Error) -> io::Error {
    // The number is not reachable in another way: the source of tempfile's error is not the system's error, but that
    // error's own source.
    let text = error.to_string();
    let number = || text.split_once("(os error ")?.1.split_once(')')?.0.parse().ok();
    number().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
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
            if remove(&path).is_ok() || !path.exists() {
                break;
            }
        }
    }
    end()
}

/// Removes the temporary files and folders that killed processes have left in `folder`. No other process may be writing
/// there: its temporaries have such names, too. Those of this process stay, and so does what cannot be removed.
///
/// # Errors
/// The operating system's, if the folder cannot be listed.
pub fn remove_stale_temporaries(folder: &Path) -> io::Result<()> {
    let is_temporary = |name: &OsStr| {
        name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && name.as_encoded_bytes().ends_with(SUFFIX.as_bytes())
    };
    let temporaries = temporaries();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if is_temporary(&entry.file_name()) && !temporaries.contains(&path) {
            let _ = remove(&path);
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path)?.is_dir();
    if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Held by tests that remove temporaries: they would remove each other's.
#[cfg(test)]
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AtomicFile, AtomicFolder};

    #[test]
    fn stale_temporaries_are_removed_and_nothing_else() {
        let _alone = ALONE.lock();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [".killed.partial", "download.partial", ".hidden"] {
            fs::write(at(name), "x").unwrap();
        }
        fs::create_dir(at(".package.partial")).unwrap();
        fs::write(at(".package.partial/file"), "x").unwrap();
        let file = AtomicFile::create(&at("out"), false).unwrap();
        let package = AtomicFolder::create(&at("out.mlpackage"), false, "a package", |_| true).unwrap();
        remove_stale_temporaries(folder.path()).unwrap();
        assert!(!at(".killed.partial").exists() && !at(".package.partial").exists());
        assert!(at("download.partial").exists() && at(".hidden").exists());
        assert!(file.temporary_path().exists() && package.temporary_path().exists());
        assert!(remove_stale_temporaries(&at("missing")).is_err());
    }

    #[test]
    fn errors_have_the_words_of_the_system_and_no_temporary_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let failed = tempfile::Builder::new().suffix(SUFFIX).tempfile_in(&missing).unwrap_err();
        let expected = fs::read(&missing).unwrap_err();
        assert!(failed.to_string().contains(SUFFIX));
        assert_eq!(os_error(&failed).to_string(), expected.to_string());
        assert_eq!(os_error(&expected).raw_os_error(), expected.raw_os_error());
        assert_eq!(os_error(&io::ErrorKind::InvalidInput.into()).kind(), io::ErrorKind::InvalidInput);
    }
}
