use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::atomic::write_error;
use super::partial;
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
    /// `is_ours` says of what is there already whether it may be replaced at all: `--force` is no licence to remove
    /// what the converter could not have written.
    pub(crate) fn create(path: &Path, force: bool, is_ours: impl Fn(&Path) -> bool) -> Result<Self> {
        let path = check_target(path, force, is_ours)?;
        let temporary = partial::start(|| sibling(&path), TempDir::path)?;
        Ok(AtomicFolder { temporary, path, force })
    }

    /// Where the contents are until the commit.
    pub(crate) fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name. Its files must be on the disk.
    pub(crate) fn commit(self) -> Result<()> {
        let AtomicFolder { temporary, path, force } = self;
        let exists = fs::symlink_metadata(&path).is_ok();
        if exists && !force {
            return Err(ConvertError::OutputExists { path });
        }
        let partial = temporary.path().to_path_buf();
        partial::finish(&partial, || {
            let renamed = if exists { replace(&partial, &path) } else { fs::rename(&partial, &path) };
            renamed.map_err(|source| write_error(&path, source))?;
            // The new name is on the disk before what had it goes.
            #[cfg(unix)]
            if let Ok(folder) = fs::File::open(parent(&path)) {
                // Not every file system can; the name is then as durable as any other.
                let _ = folder.sync_all();
            }
            // Removes the old package, if there was one, which now has the temporary name.
            drop(temporary);
            Ok(())
        })
    }
}

/// Checks what is at `path`, and gives the path of what it links to.
pub(super) fn check_target(path: &Path, force: bool, is_ours: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let path = path.to_path_buf();
    if fs::symlink_metadata(&path).is_err() {
        return Ok(path);
    }
    match fs::canonicalize(&path) {
        Ok(found) if !is_ours(&found) => Err(ConvertError::OutputNotAPackage { path }),
        Ok(_) if !force => Err(ConvertError::OutputExists { path }),
        Ok(found) => Ok(found),
        // A link to nothing.
        Err(_) => Err(ConvertError::OutputNotAPackage { path }),
    }
}

/// Puts the folder `new` in the place of the folder `path`, which afterwards has the name of `new`.
fn replace(new: &Path, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(other) => return Err(other.into()),
        }
    }
    replace_in_steps(new, path)
}

/// As [`replace`], where two folders cannot be exchanged at once: a process that is killed between two of the
/// steps leaves the old package beside the new one, under the name `….replaced`.
fn replace_in_steps(new: &Path, path: &Path) -> io::Result<()> {
    let aside = new.with_extension("replaced");
    fs::rename(path, &aside)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&aside, path)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A new folder beside `path`, removed when dropped.
fn sibling(path: &Path) -> Result<TempDir> {
    let folder = parent(path);
    if !folder.is_dir() {
        let reason = io::Error::other(format!("there is no folder {}", folder.display()));
        return Err(write_error(path, reason));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
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
    use crate::write::partial::ALONE;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn whole_or_not_at_all() {
        let _alone = ALONE.lock();
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

        #[cfg(unix)]
        {
            let link = folder.path().join("link.mlpackage");
            std::os::unix::fs::symlink(folder.path().join("nothing"), &link).unwrap();
            assert!(matches!(AtomicFolder::create(&link, true, ours), Err(ConvertError::OutputNotAPackage { .. })));
            fs::remove_file(link).unwrap();
        }

        let interrupted = AtomicFolder::create(&folder.path().join("b.mlpackage"), false, ours).unwrap();
        fs::write(interrupted.temporary_path().join("mark"), "half").unwrap();
        super::super::discard_partial(|| ());
        assert_eq!(names(folder.path()), ["a.mlpackage"]);
        assert!(interrupted.commit().is_err());
        assert_eq!(names(folder.path()), ["a.mlpackage"]);
    }

    #[test]
    fn both_ways_to_replace_a_folder_exchange_the_two() {
        for replace in [replace, replace_in_steps] {
            let folder = tempfile::tempdir().unwrap();
            let (new, old) = (folder.path().join(".x.partial"), folder.path().join("old"));
            for path in [&new, &old] {
                fs::create_dir(path).unwrap();
                fs::write(path.join("mark"), path.file_name().unwrap().to_str().unwrap()).unwrap();
            }
            replace(&new, &old).unwrap();
            assert_eq!(fs::read_to_string(old.join("mark")).unwrap(), ".x.partial");
            assert_eq!(fs::read_to_string(new.join("mark")).unwrap(), "old");
            assert_eq!(names(folder.path()), [".x.partial", "old"]);
            // If the new one is not there after all, the old one stays.
            assert!(replace(&folder.path().join("missing"), &old).is_err());
            assert_eq!(fs::read_to_string(old.join("mark")).unwrap(), ".x.partial");
        }
    }
}
