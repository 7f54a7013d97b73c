//! The file `weights/weight.bin`: a header, then for each tensor a record that describes it, and its bytes. All of them
//! start at a multiple of 64 and are little-endian.
//!
//! The format is that of coremltools'
//! [`StorageFormat.hpp`](https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/StorageFormat.hpp).

use std::sync::Arc;

use mert_arch::Dtype;

use crate::plan::Step;
use crate::write::tensors::OutputTensor;

const ALIGNMENT: usize = 64;

/// The size of the header, and so the position of the first record.
pub(super) const HEADER_LEN: usize = 64;

/// The size of a record; the tensor's bytes follow it.
const RECORD_LEN: usize = 64;

/// The first bytes of a record.
const SENTINEL: u32 = 0xDEAD_BEEF;

const VERSION: u32 = 2;

/// A weight in the blob file.
#[derive(Debug, Clone)]
pub(super) struct Blob<'p> {
    pub(super) step: &'p Step,
    /// The stored rows of the tensor, if not all of them once.
    pub(super) rows: Option<Arc<[usize]>>,
    /// The stored element type.
    pub(super) stored: Dtype,
    /// The position of the record.
    pub(super) record: usize,
}

impl<'p> Blob<'p> {
    /// The position of the next record.
    pub(super) fn end(&self) -> usize {
        (self.record + RECORD_LEN + self.tensor().byte_len()).next_multiple_of(ALIGNMENT)
    }

    /// The tensor and its position in the file.
    pub(super) fn tensor(&self) -> OutputTensor<'p> {
        let rows = self.rows.clone();
        OutputTensor { step: self.step, rows, stored: self.stored, offsets: vec![self.record + RECORD_LEN] }
    }

    /// The tensor's record.
    pub(super) fn record(&self) -> [u8; RECORD_LEN] {
        // F16 = 1, F32 = 2 (`BlobDataType`); bfloat16 has none that MIL could refer to.
        let dtype: u32 = if self.stored == Dtype::F32 { 2 } else { 1 };
        let tensor = self.tensor();
        let mut record = [0; RECORD_LEN];
        record[0..4].copy_from_slice(&SENTINEL.to_le_bytes());
        record[4..8].copy_from_slice(&dtype.to_le_bytes());
        record[8..16].copy_from_slice(&(tensor.byte_len() as u64).to_le_bytes());
        record[16..24].copy_from_slice(&((self.record + RECORD_LEN) as u64).to_le_bytes());
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
