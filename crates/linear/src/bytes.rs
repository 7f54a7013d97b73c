//! The bytes of a tensor: a part of a mapped file, or memory of its own.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use mert_fs::MappedFile;

/// Bytes that are shared, not copied, between their clones. They need no alignment.
#[derive(Clone)]
pub struct Bytes {
    source: Source,
    range: Range<usize>,
}

#[derive(Clone)]
enum Source {
    Mapped(Arc<MappedFile>),
    Owned(Arc<Vec<u8>>),
}

impl Bytes {
    /// A part of a mapped file, which stays mapped as long as the bytes are used; `None` if the file is shorter.
    pub fn mapped(file: Arc<MappedFile>, range: Range<usize>) -> Option<Self> {
        file.bytes().get(range.clone())?;
        Some(Bytes { source: Source::Mapped(file), range })
    }

    /// A part of these bytes; `None` if they are fewer.
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let range = self.range.start + range.start..self.range.start + range.end;
        Some(Bytes { source: self.source.clone(), range })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.source {
            Source::Mapped(file) => file.bytes(),
            Source::Owned(bytes) => bytes,
        };
        all.get(self.range.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes { range: 0..bytes.len(), source: Source::Owned(Arc::new(bytes)) }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Mapped(file) => file.path().display().to_string(),
            Source::Owned(_) => "memory".to_string(),
        };
        write!(f, "Bytes({source}, {:?})", self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_file_and_end_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [0, 1, 2, 3, 4, 5]).unwrap();
        let file = Arc::new(MappedFile::open(&path).unwrap());
        let bytes = Bytes::mapped(file.clone(), 1..5).unwrap();
        assert_eq!(*bytes, [1, 2, 3, 4]);
        assert_eq!(*bytes.part(1..3).unwrap(), [2, 3]);
        assert!(bytes.part(1..5).is_none() && Bytes::mapped(file, 3..7).is_none());
        assert_eq!(*Bytes::from(vec![7, 8]).part(1..2).unwrap(), [8]);
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn a_range_that_ends_before_its_start_is_none() {
        assert!(Bytes::from(vec![1, 2, 3]).part(2..1).is_none());
    }
}
