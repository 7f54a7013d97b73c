use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

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

impl AtomicFile {
    /// Starts a file that is to become `path`.
    pub(crate) fn create(path: &Path, force: bool) -> Result<Self> {
        if !force && path.exists() {
            return Err(ConvertError::OutputExists { path: path.to_path_buf() });
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any program's output: the user's umask applies. The default would be private.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder).map_err(|source| write_error(path, source))?;
        Ok(AtomicFile { temporary, path: path.to_path_buf(), force })
    }

    pub(crate) fn file_mut(&mut self) -> &mut File {
        self.temporary.as_file_mut()
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
