//! Little-endian numbers of a file in the binary form, each read with the name of its field.

use crate::{OracleError, Result};

/// A reader that allocates nothing for a stated length before the bytes are there.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes` from byte `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Reader { bytes, at }
    }

    /// Goes on in `bytes`, the part of the same file before its checksum.
    pub(super) fn limit(&mut self, bytes: &'a [u8]) {
        self.bytes = bytes;
    }

    /// The byte that is read next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let part = end.and_then(|end| self.bytes.get(self.at..end));
        let part = part.ok_or(OracleError::Truncated { field, offset: self.at })?;
        self.at += length;
        Ok(part)
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8> {
        Ok(self.take(field, 1)?[0])
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    pub(super) fn number(&mut self, field: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(super) fn float(&mut self, field: &'static str) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array(field)?))
    }

    pub(super) fn numbers(&mut self, field: &'static str, count: usize) -> Result<Vec<u32>> {
        let part = self.take(field, count.saturating_mul(4))?;
        Ok(part.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }
}
