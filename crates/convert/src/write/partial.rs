//! What is being written under a temporary name, so that a signal, which ends the process without running
//! destructors, leaves none of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Result;

/// The temporary files and folders of the conversions under way.
static PARTIAL: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn partial() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    PARTIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a temporary file or folder, with no moment in which it is there and a signal would leave it.
pub(super) fn start<T>(create: impl FnOnce() -> Result<T>, path: impl Fn(&T) -> &Path) -> Result<T> {
    let mut partial = partial();
    let temporary = create()?;
    partial.insert(path(&temporary).to_path_buf());
    Ok(temporary)
}

/// Runs what gives a temporary file or folder its name, unless it has been discarded; a signal that comes meanwhile
/// waits, and finds nothing to discard.
pub(super) fn finish(path: &Path, rename: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut partial = partial();
    if !partial.remove(path) {
        return Err(super::atomic::write_error(path, io::Error::other("the conversion was interrupted")));
    }
    rename()
}

/// Removes the temporary files and folders of all conversions under way, because the process is about to end, which
/// `end` does: until it returns, no new ones are made.
pub fn discard_partial<T>(end: impl FnOnce() -> T) -> T {
    let mut partial = partial();
    while let Some(path) = partial.pop_first() {
        // A folder may be filled while it is emptied; what is written next finds it gone. There is nobody left to
        // tell of a failure.
        for _ in 0..100 {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if removed.is_ok() || !path.exists() {
                break;
            }
        }
    }
    end()
}

/// For tests that discard: they would take away each other's files.
#[cfg(test)]
pub(super) static ALONE: Mutex<()> = Mutex::new(());
