//! The file `weights/weight.bin`: a header, then for each tensor a record that says what follows it, and its
//! bytes. Everything starts at a multiple of 64 and is little-endian.
//!
//! The format is that of `mlmodel/src/MILBlob/Blob/StorageFormat.hpp` in Apple's coremltools.

use mert_arch::Dtype;

use super::graph::Blob;
use crate::write::tensors::Placed;

const ALIGNMENT: usize = 64;

/// Bytes of the header, and so where the first record goes.
pub(super) const HEADER_LEN: usize = 64;

/// Bytes of a record; the tensor's follow.
const RECORD_LEN: usize = 64;

/// What a record starts with.
const SENTINEL: u32 = 0xDEAD_BEEF;

const VERSION: u32 = 2;

impl<'p> Blob<'p> {
    /// Where the next record goes.
    pub(super) fn end(&self) -> usize {
        self.placed().range().end.next_multiple_of(ALIGNMENT)
    }

    /// The tensor, and where its bytes go.
    pub(super) fn placed(&self) -> Placed<'p> {
        Placed { step: self.step, stored: self.stored, offset: self.record + RECORD_LEN }
    }

    /// Its record.
    pub(super) fn record(&self) -> [u8; RECORD_LEN] {
        // F16 = 1, F32 = 2 (`BlobDataType`); bfloat16 has none that MIL could refer to.
        let dtype: u32 = if self.stored == Dtype::F32 { 2 } else { 1 };
        let placed = self.placed();
        let mut record = [0; RECORD_LEN];
        record[0..4].copy_from_slice(&SENTINEL.to_le_bytes());
        record[4..8].copy_from_slice(&dtype.to_le_bytes());
        record[8..16].copy_from_slice(&(placed.byte_len() as u64).to_le_bytes());
        record[16..24].copy_from_slice(&(placed.offset as u64).to_le_bytes());
        record
    }
}

/// The header of a file of `count` tensors.
pub(super) fn header(count: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0..4].copy_from_slice(&(count as u32).to_le_bytes());
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header
}
