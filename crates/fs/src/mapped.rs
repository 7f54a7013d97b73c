//! Read-only mappings of files whose pages do not count as the process's memory after use.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
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

    /// The path by which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// A part of the file for one pass, whose pages no longer count as this process's memory when it is dropped;
    /// `None` if the file is shorter.
    pub fn range(&self, range: Range<usize>) -> Option<MappedBytes<'_>> {
        let bytes = self.map.get(range.clone())?;
        Some(MappedBytes { bytes, file: self, start: range.start })
    }

    #[cfg_attr(not(unix), allow(unused_variables))]
    fn release(&self, start: usize, length: usize) {
        #[cfg(unix)]
        {
            // SAFETY: the pages of a read-only mapping of a file are as the file is; a later access, also
            // through a reference that exists, maps them again.
            #[allow(unsafe_code)]
            let released =
                unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) };
            // Only the count of resident pages would show that it failed.
            let _ = released;
        }
    }
}

/// A part of a [`MappedFile`] that is read in one pass, so that resident memory does not grow with the file.
#[derive(Debug)]
pub struct MappedBytes<'a> {
    bytes: &'a [u8],
    file: &'a MappedFile,
    start: usize,
}

impl MappedBytes<'_> {
    /// A part of these bytes, `None` if they are shorter. The pages of the others no longer count as this process's memory.
    pub fn part(mut self, range: Range<usize>) -> Option<Self> {
        let (start, length) = (self.start, self.bytes.len());
        self.bytes = self.bytes.get(range.clone())?;
        self.start += range.start;
        for others in [start..start + range.start, start + range.end..start + length] {
            if !others.is_empty() {
                self.file.release(others.start, others.len());
            }
        }
        Some(self)
    }
}

impl Deref for MappedBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for MappedBytes<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.file.release(self.start, self.bytes.len());
        }
    }
}
