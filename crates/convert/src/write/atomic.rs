use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::partial;
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
        let temporary = partial::start(|| builder.tempfile_in(folder).map_err(failed), NamedTempFile::path)?;
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
        let partial = temporary.path().to_path_buf();
        partial::finish(&partial, || {
            let renamed = if force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
            match renamed {
                Ok(_) => Ok(()),
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(ConvertError::OutputExists { path }),
                Err(e) => Err(write_error(&path, e.error)),
            }
        })
    }
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Write { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::discard_partial;
    use crate::write::partial::ALONE;

    #[test]
    fn nothing_is_left_of_a_file_that_is_not_committed_or_interrupted() {
        let _alone = ALONE.lock();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.safetensors");
        let files = || fs::read_dir(folder.path()).unwrap().count();
        drop(AtomicFile::create(&path, false).unwrap());
        assert_eq!(files(), 0);

        let interrupted = AtomicFile::create(&path, false).unwrap();
        assert_eq!(files(), 1);
        discard_partial(|| ());
        assert_eq!(files(), 0);
        assert!(interrupted.commit().is_err());

        AtomicFile::create(&path, false).unwrap().commit().unwrap();
        assert!(matches!(AtomicFile::create(&path, false), Err(ConvertError::OutputExists { .. })));
        // What is committed is no longer partial.
        discard_partial(|| ());
        assert!(path.exists());
    }
}
