use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

/// A file mapped into memory: its bytes can be used without a copy, and belong to the system's page
/// cache, not to the process.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    /// Opens and maps a file.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is read-only and private to this process. Its bytes are only ever read as
        // bytes, so a program that changes the file meanwhile can make the result wrong, which the
        // checksums are there for, but cannot break an invariant. One that truncates it ends this process
        // with a signal: the price that every reader of mapped weights pays.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }?;
        Ok(MappedFile { path: path.to_path_buf(), map })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}
