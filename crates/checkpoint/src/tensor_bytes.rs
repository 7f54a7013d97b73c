//! The bytes of one tensor, borrowed from a mapped file where they are contiguous in it.

use std::ops::{Deref, Range};

use mert_fs::MappedBytes;

/// The little-endian, row-major bytes of one tensor.
#[derive(Debug)]
pub enum TensorBytes<'a> {
    /// Borrowed from a mapped file.
    InPlace(MappedBytes<'a>),
    /// Gathered from several parts of a file, or decompressed.
    Gathered(Vec<u8>),
}

impl TensorBytes<'_> {
    /// A part of the bytes; `None` if there are fewer.
    pub(crate) fn part(self, range: Range<usize>) -> Option<Self> {
        match self {
            TensorBytes::InPlace(bytes) => bytes.part(range).map(TensorBytes::InPlace),
            TensorBytes::Gathered(bytes) => bytes.get(range).map(|bytes| TensorBytes::Gathered(bytes.to_vec())),
        }
    }
}

impl Deref for TensorBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            TensorBytes::InPlace(bytes) => bytes,
            TensorBytes::Gathered(bytes) => bytes,
        }
    }
}
