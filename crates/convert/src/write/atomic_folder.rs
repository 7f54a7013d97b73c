use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::atomic::{set_partial, write_error};
use crate::{ConvertError, Result};

/// A folder that appears under its name only once it is whole.
///
/// It is filled as a sibling and renamed. Dropping it without [`AtomicFolder::commit`] leaves nothing.
pub(crate) struct AtomicFolder {
    temporary: TempDir,
    path: PathBuf,
    force: bool,
}

impl AtomicFolder {
    /// Starts a folder that is to become `path`, or what `path` links to.
    ///
    /// `is_ours` says of a folder that is there already whether it may be replaced at all: `--force` is no
    /// licence to remove what the converter could not have written.
    pub(crate) fn create(path: &Path, force: bool, is_ours: impl Fn(&Path) -> bool) -> Result<Self> {
        let mut path = path.to_path_buf();
        if fs::symlink_metadata(&path).is_ok() {
            path = fs::canonicalize(&path).map_err(|source| write_error(&path, source))?;
            if !is_ours(&path) {
                return Err(ConvertError::OutputNotAPackage { path });
            }
            if !force {
                return Err(ConvertError::OutputExists { path });
            }
        }
        let temporary = sibling(&path, ".partial")?;
        set_partial(Some(temporary.path().to_path_buf()));
        Ok(AtomicFolder { temporary, path, force })
    }

    /// Where the contents are until the commit.
    pub(crate) fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name. Its files must be on the disk.
    pub(crate) fn commit(self) -> Result<()> {
        let AtomicFolder { temporary, path, force } = self;
        let failed = |source| write_error(&path, source);
        let exists = fs::symlink_metadata(&path).is_ok();
        if exists && !force {
            return Err(ConvertError::OutputExists { path });
        }
        // No system call that is everywhere replaces a folder by another: the old one steps aside first, and
        // comes back if the new one cannot take its place.
        let old = if exists { Some(sibling(&path, ".replaced")?) } else { None };
        if let Some(old) = &old {
            fs::rename(&path, old.path().join("package")).map_err(failed)?;
        }
        let renamed = fs::rename(temporary.path(), &path);
        if let (Err(_), Some(old)) = (&renamed, &old) {
            fs::rename(old.path().join("package"), &path).map_err(failed)?;
        }
        set_partial(None);
        renamed.map_err(failed)?;
        // It has another name now; there is nothing left to remove.
        let _ = temporary.keep();
        Ok(())
    }
}

/// A new folder beside `path`, removed when dropped.
fn sibling(path: &Path, suffix: &str) -> Result<TempDir> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let reason = io::Error::other(format!("there is no folder {}", folder.display()));
        return Err(write_error(path, reason));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(suffix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any program's output: the user's umask applies. The default would be private.
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    // The temporary folder's own name, which its error holds, would only confuse.
    builder.tempdir_in(folder).map_err(|e| write_error(path, e.kind().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mlpackage");
        let ours = |path: &Path| path.join("mark").is_file();
        let filled = |force, text: &str| {
            let package = AtomicFolder::create(&path, force, ours)?;
            fs::write(package.temporary_path().join("mark"), text).unwrap();
            Ok::<_, ConvertError>(package)
        };
        drop(filled(false, "never").unwrap());
        assert!(names(folder.path()).is_empty());

        filled(false, "first").unwrap().commit().unwrap();
        assert!(matches!(filled(false, "second"), Err(ConvertError::OutputExists { .. })));
        filled(true, "third").unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("mark")).unwrap(), "third");
        assert_eq!(names(folder.path()), ["a.mlpackage"]);

        // Somebody else's folder stays, whatever is forced.
        fs::rename(path.join("mark"), path.join("thesis")).unwrap();
        assert!(matches!(filled(true, "fourth"), Err(ConvertError::OutputNotAPackage { .. })));
        assert_eq!(names(&path), ["thesis"]);

        let interrupted = AtomicFolder::create(&folder.path().join("b.mlpackage"), false, ours).unwrap();
        fs::write(interrupted.temporary_path().join("mark"), "half").unwrap();
        super::super::discard_partial();
        assert_eq!(names(folder.path()), ["a.mlpackage"]);
        assert!(interrupted.commit().is_err());
        assert_eq!(names(folder.path()), ["a.mlpackage"]);
    }
}
