//! A folder that appears at its path only when it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

#[cfg(unix)]
use crate::output::parent_folder;
use crate::{FsError, Result, temporary};

/// A folder that appears at its path only when it is complete.
///
/// It is filled as a temporary sibling and renamed. Dropping it without [`AtomicFolder::commit`] removes it.
#[derive(Debug)]
pub struct AtomicFolder {
    temporary: TempDir,
    path: PathBuf,
    force: bool,
}

impl AtomicFolder {
    /// Starts a folder that will replace `path`, or the folder that `path` links to.
    ///
    /// `is_ours` says whether an existing folder is of the kind `expected`, which this tool writes: `force` does not
    /// extend to anything else.
    ///
    /// # Errors
    /// [`FsError`]: the folder exists, may not be replaced, or cannot be created.
    pub fn create(path: &Path, force: bool, expected: &'static str, is_ours: impl Fn(&Path) -> bool) -> Result<Self> {
        let path = check_folder_output(path, force, expected, is_ours)?;
        let temporary = temporary::create(
            || temporary::sibling(&path, 0o777, |builder, folder| builder.tempdir_in(folder)),
            TempDir::path,
        )?;
        Ok(AtomicFolder { temporary, path, force })
    }

    /// The path of the temporary folder, until the commit.
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Renames the folder to its path. Its files must be synced already.
    ///
    /// # Errors
    /// [`FsError`]; what was at the path is then as it was.
    pub fn commit(self) -> Result<()> {
        let AtomicFolder { temporary, path, force } = self;
        let exists = fs::symlink_metadata(&path).is_ok();
        if exists && !force {
            return Err(FsError::OutputExists { path });
        }
        let listed = temporary.path().to_path_buf();
        temporary::commit(&listed, || {
            let renamed = if exists { replace(&listed, &path) } else { fs::rename(&listed, &path) };
            renamed.map_err(|source| FsError::write(&path, source))?;
            // The new name must be on the disk before the old folder is removed.
            #[cfg(unix)]
            if let Ok(folder) = fs::File::open(parent_folder(&path)) {
                // Some file systems cannot; the rename is then as durable as any other.
                let _ = folder.sync_all();
            }
            // Removes the old folder, which now has the temporary name.
            drop(temporary);
            Ok(())
        })
    }
}

/// Checks that a folder may be written to `path`, and returns the path that it links to: nothing is there, or with
/// `force` a folder for which `is_ours` holds, which messages call `expected`.
///
/// # Errors
/// [`FsError::OutputExists`] or [`FsError::OutputNotReplaceable`].
pub fn check_folder_output(
    path: &Path,
    force: bool,
    expected: &'static str,
    is_ours: impl Fn(&Path) -> bool,
) -> Result<PathBuf> {
    let path = path.to_path_buf();
    if fs::symlink_metadata(&path).is_err() {
        return Ok(path);
    }
    match fs::canonicalize(&path) {
        Ok(found) if !is_ours(&found) => Err(FsError::OutputNotReplaceable { path, expected }),
        Ok(_) if !force => Err(FsError::OutputExists { path }),
        Ok(found) => Ok(found),
        // A link to nothing.
        Err(_) => Err(FsError::OutputNotReplaceable { path, expected }),
    }
}

/// Exchanges the folders `new` and `path`.
fn replace(new: &Path, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            // Some file systems cannot.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(other) => return Err(other.into()),
        }
    }
    replace_in_steps(new, path)
}

/// [`replace`] where the system cannot exchange two folders in one step: a process that is killed in between leaves the
/// old folder beside the new one, under the name `….replaced`.
fn replace_in_steps(new: &Path, path: &Path) -> io::Result<()> {
    let aside = new.with_extension("replaced");
    fs::rename(path, &aside)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&aside, path)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary::ALONE;

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
            let package = AtomicFolder::create(&path, force, "a package", ours)?;
            fs::write(package.temporary_path().join("mark"), text).unwrap();
            Ok::<_, FsError>(package)
        };
        drop(filled(false, "never").unwrap());
        assert!(names(folder.path()).is_empty());

        filled(false, "first").unwrap().commit().unwrap();
        assert!(matches!(filled(false, "second"), Err(FsError::OutputExists { .. })));
        filled(true, "third").unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("mark")).unwrap(), "third");
        assert_eq!(names(folder.path()), ["a.mlpackage"]);

        // Somebody else's folder stays, whatever is forced.
        fs::rename(path.join("mark"), path.join("thesis")).unwrap();
        assert!(matches!(filled(true, "fourth"), Err(FsError::OutputNotReplaceable { .. })));
        assert_eq!(names(&path), ["thesis"]);

        #[cfg(unix)]
        {
            let link = folder.path().join("link.mlpackage");
            std::os::unix::fs::symlink(folder.path().join("nothing"), &link).unwrap();
            assert!(matches!(
                AtomicFolder::create(&link, true, "a package", ours),
                Err(FsError::OutputNotReplaceable { .. })
            ));
            fs::remove_file(link).unwrap();
        }

        let interrupted = AtomicFolder::create(&folder.path().join("b.mlpackage"), false, "a package", ours).unwrap();
        fs::write(interrupted.temporary_path().join("mark"), "half").unwrap();
        crate::remove_temporaries(|| ());
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
