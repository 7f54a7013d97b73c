//! The file `weights/weight.bin`: a header, then for each tensor a record that describes it, and its bytes. All of them
//! start at a multiple of 64 and are little-endian.
//!
//! The format is that of coremltools'
//! [`StorageFormat.hpp`](https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/StorageFormat.hpp) and
//! [`BlobDataType.hpp`](https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/BlobDataType.hpp).

use std::sync::Arc;

use mert_arch::Dtype;

use super::proto::DataType;
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
    /// The stored float type.
    pub(super) stored: Dtype,
    /// The records: one, or those of the parts of a compressed weight.
    pub(super) records: Vec<Record>,
}

/// The bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The output of this index of the weight's step.
    Output(usize),
    /// Zeros, which a part of a file is that is not written.
    Zeros,
}

/// A tensor in the blob file.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// The position of the record.
    pub(super) position: usize,
    content: Content,
    /// The number of the type (`BlobDataType`).
    blob_type: u32,
    bytes: usize,
    /// The number of bits of the last byte that no element takes.
    padding: usize,
}

impl Record {
    /// The record at `position` of a tensor of this type.
    pub(super) fn new(position: usize, data_type: DataType, elements: usize, content: Content) -> Self {
        let (blob_type, bits) = blob_type(data_type);
        let used = elements * bits;
        let bytes = used.div_ceil(8);
        Record { position, content, blob_type, bytes, padding: bytes * 8 - used }
    }

    fn data(&self) -> usize {
        self.position + RECORD_LEN
    }

    /// The position of the next record.
    pub(super) fn end(&self) -> usize {
        (self.data() + self.bytes).next_multiple_of(ALIGNMENT)
    }

    /// The bytes of the record.
    pub(super) fn encode(&self) -> [u8; RECORD_LEN] {
        let mut record = [0; RECORD_LEN];
        record[0..4].copy_from_slice(&SENTINEL.to_le_bytes());
        record[4..8].copy_from_slice(&self.blob_type.to_le_bytes());
        record[8..16].copy_from_slice(&(self.bytes as u64).to_le_bytes());
        record[16..24].copy_from_slice(&(self.data() as u64).to_le_bytes());
        record[24..32].copy_from_slice(&(self.padding as u64).to_le_bytes());
        record
    }
}

/// The number of a type in records and the number of bits of an element. Other types are not in the file.
fn blob_type(data_type: DataType) -> (u32, usize) {
    match data_type {
        DataType::Float16 => (1, 16),
        DataType::Float32 => (2, 32),
        DataType::Uint8 => (3, 8),
        DataType::Int8 => (4, 8),
        DataType::Int4 => (8, 4),
        DataType::Uint4 => (11, 4),
        DataType::Uint6 => (13, 6),
        DataType::Int32 => (14, 32),
        DataType::Uint32 => (15, 32),
        DataType::Unused | DataType::Bool | DataType::String => (0, 0),
    }
}

impl<'p> Blob<'p> {
    /// The tensor and the positions of its parts in the file.
    pub(super) fn tensor(&self) -> OutputTensor<'p> {
        let mut offsets = vec![0; self.step.outputs.len()];
        for record in &self.records {
            if let Content::Output(output) = record.content {
                offsets[output] = record.data();
            }
        }
        OutputTensor { step: self.step, rows: self.rows.clone(), stored: self.stored, offsets }
    }
}

/// The header of a file of `count` tensors.
pub(super) fn header(count: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0..4].copy_from_slice(&(count as u32).to_le_bytes());
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header
}
