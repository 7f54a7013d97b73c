use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use crate::{ConvertError, Result};

/// A file that appears under its name only once it is whole.
///
/// It is written to a sibling and renamed, so that nobody ever sees half of it and a reader of the
/// old one keeps what it has mapped. Dropping it without [`AtomicFile::commit`] leaves nothing.
pub(crate) struct AtomicFile {
    temporary: NamedTempFile,
    path: PathBuf,
    force: bool,
}

/// The temporary file or folder of the conversion under way, for [`discard_partial`].
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

fn set_partial(path: Option<PathBuf>) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = path;
}

/// Makes the temporary file or folder, with no moment in which it is there and a signal would leave it.
pub(super) fn start_partial<T>(create: impl FnOnce() -> Result<T>, path: impl Fn(&T) -> &Path) -> Result<T> {
    let mut partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = create()?;
    *partial = Some(path(&temporary).to_path_buf());
    Ok(temporary)
}

/// Runs what gives the temporary file or folder its name, unless it has been discarded; a signal that comes
/// meanwhile waits, and finds nothing to discard.
pub(super) fn finish_partial(path: &Path, rename: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner);
    if partial.as_deref() != Some(path) {
        return Err(io::Error::other("the conversion was interrupted"));
    }
    *partial = None;
    rename()
}

/// Removes the temporary file or folder of a conversion that is being interrupted: a signal ends the process
/// without running destructors.
pub fn discard_partial() {
    if let Some(path) = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // It may be gone already; there is nobody left to tell.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

impl AtomicFile {
    /// Starts a file that is to become `path`, or what `path` links to.
    pub(crate) fn create(path: &Path, force: bool) -> Result<Self> {
        let mut path = path.to_path_buf();
        if let Ok(existing) = fs::metadata(&path) {
            if !existing.is_file() {
                return Err(ConvertError::OutputNotAFile { path });
            }
            if !force {
                return Err(ConvertError::OutputExists { path });
            }
            path = fs::canonicalize(&path).map_err(|source| write_error(&path, source))?;
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            let reason = io::Error::other(format!("there is no folder {}", folder.display()));
            return Err(write_error(&path, reason));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any program's output: the user's umask applies. The default would be private.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        // The temporary file's own name, which its error holds, would only confuse.
        let failed = |e: io::Error| write_error(&path, e.kind().into());
        let temporary = start_partial(|| builder.tempfile_in(folder).map_err(failed), NamedTempFile::path)?;
        Ok(AtomicFile { temporary, path, force })
    }

    /// The file itself, to be written at any offset.
    pub(crate) fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Where the bytes are until the commit.
    pub(crate) fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the file its name.
    pub(crate) fn commit(self) -> Result<()> {
        let AtomicFile { temporary, path, force } = self;
        temporary.as_file().sync_all().map_err(|source| write_error(&path, source))?;
        let renamed = if force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        set_partial(None);
        match renamed {
            Ok(_) => Ok(()),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(ConvertError::OutputExists { path }),
            Err(e) => Err(write_error(&path, e.error)),
        }
    }
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Write { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_file_that_is_not_committed_or_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.safetensors");
        let files = || fs::read_dir(folder.path()).unwrap().count();
        drop(AtomicFile::create(&path, false).unwrap());
        assert_eq!(files(), 0);

        let interrupted = AtomicFile::create(&path, false).unwrap();
        assert_eq!(files(), 1);
        discard_partial();
        assert_eq!(files(), 0);
        assert!(interrupted.commit().is_err());

        AtomicFile::create(&path, false).unwrap().commit().unwrap();
        assert!(matches!(AtomicFile::create(&path, false), Err(ConvertError::OutputExists { .. })));
        // What is committed is no longer partial.
        discard_partial();
        assert!(path.exists());
    }
}
