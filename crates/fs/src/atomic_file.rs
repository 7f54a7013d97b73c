//! A file that appears at its path only when it is complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{FsError, Result, temporary};

/// A file that appears at its path only when it is complete.
///
/// It is written to a temporary sibling and renamed: no reader sees half of it, and a reader that has mapped the old
/// file keeps its bytes. Dropping it without [`AtomicFile::commit`] removes the temporary file.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    path: PathBuf,
    force: bool,
}

impl AtomicFile {
    /// Starts a file that will replace `path`, or the file that `path` links to. An existing one needs `force`.
    ///
    /// # Errors
    /// [`FsError`]: the file exists, is not a regular file, or its folder does not exist or is not writable.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let mut path = path.to_path_buf();
        if let Ok(existing) = fs::metadata(&path) {
            if !existing.is_file() {
                return Err(FsError::OutputNotAFile { path });
            }
            if !force {
                return Err(FsError::OutputExists { path });
            }
            path = fs::canonicalize(&path).map_err(|source| FsError::write(&path, source))?;
        } else if !force && fs::symlink_metadata(&path).is_ok() {
            // A link to nothing, such as a disk that is not mounted.
            return Err(FsError::OutputExists { path });
        }
        let temporary = temporary::create(
            || temporary::sibling(&path, 0o666, |builder, folder| builder.tempfile_in(folder)),
            NamedTempFile::path,
        )?;
        Ok(AtomicFile { temporary, path, force })
    }

    /// The temporary file, which may be written at any offset.
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// The temporary file for sequential writes.
    pub fn file_mut(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// The path of the temporary file, until the commit.
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Syncs the file to the disk and renames it to its path.
    ///
    /// # Errors
    /// [`FsError`]; what was at the path is then as it was.
    pub fn commit(self) -> Result<()> {
        let AtomicFile { temporary, path, force } = self;
        temporary.as_file().sync_all().map_err(|source| FsError::write(&path, source))?;
        let listed = temporary.path().to_path_buf();
        temporary::commit(&listed, || {
            let renamed = if force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
            match renamed {
                Ok(_) => Ok(()),
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(FsError::OutputExists { path }),
                Err(e) => Err(FsError::write(&path, e.error)),
            }
        })
    }
}

/// Writes `path` with `write` and replaces what is there: through a temporary sibling that is synced and renamed, so that
/// an error leaves the old file. A link stays a link. Anything but a regular file (`/dev/stdout`, a pipe) is written
/// directly.
///
/// # Errors
/// [`FsError::Write`].
pub fn replace_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let is_special = fs::metadata(path).is_ok_and(|existing| !existing.is_file() && !existing.is_dir());
    if is_special {
        let mut file = File::options().write(true).open(path).map_err(|source| FsError::write(path, source))?;
        return write(&mut file).map_err(|source| FsError::write(path, source));
    }
    let mut output = AtomicFile::create(path, true)?;
    write(output.file_mut()).map_err(|source| FsError::write(path, source))?;
    output.commit()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::temporary::{ALONE, remove_temporaries};

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_needs_force() {
        let _alone = ALONE.lock();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::os::unix::fs::symlink(folder.path().join("not mounted"), &path).unwrap();
        assert!(matches!(AtomicFile::create(&path, false), Err(FsError::OutputExists { .. })));
        AtomicFile::create(&path, true).unwrap().commit().unwrap();
        assert!(path.is_file());
    }

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
        remove_temporaries(|| ());
        assert_eq!(files(), 0);
        assert!(interrupted.commit().is_err());

        AtomicFile::create(&path, false).unwrap().commit().unwrap();
        assert!(matches!(AtomicFile::create(&path, false), Err(FsError::OutputExists { .. })));
        // A committed file is not temporary any more.
        remove_temporaries(|| ());
        assert!(path.exists());
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_links_stay_links() {
        let _alone = ALONE.lock();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        replace_file(&path, |file| file.write_all(b"old")).unwrap();
        let failed = replace_file(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(matches!(failed, Err(FsError::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(matches!(replace_file(folder.path(), |_| Ok(())), Err(FsError::OutputNotAFile { .. })));
        #[cfg(unix)]
        {
            let link = folder.path().join("link.json");
            std::os::unix::fs::symlink("report.json", &link).unwrap();
            replace_file(&link, |file| file.write_all(b"new")).unwrap();
            assert!(link.is_symlink());
            replace_file(Path::new("/dev/null"), |file| file.write_all(b"x")).unwrap();
        }
        #[cfg(unix)]
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
