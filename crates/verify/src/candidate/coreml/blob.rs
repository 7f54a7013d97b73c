//! The weights of a package, `weight.bin`: a header of 64 bytes, then for each tensor a record of 64 bytes and its data,
//! each at a multiple of 64, little-endian. After `mlmodel/src/MILBlob/Blob/StorageFormat.hpp` of coremltools
//! (<https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/StorageFormat.hpp>).

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;

use super::types::{Code, Element, Type};

/// The file `weight.bin`.
pub(super) struct BlobFile {
    bytes: Vec<u8>,
    /// The range `(start, end)` of the data of each record that was read, by the record's offset.
    read: BTreeMap<usize, (usize, usize)>,
}

const ALIGNMENT: usize = 64;
const SENTINEL: u32 = 0xDEAD_BEEF;

fn at_record(offset: u64, reason: &str) -> String {
    format!("its record in weight.bin, at {offset}, {reason}")
}

impl BlobFile {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        BlobFile::new(bytes)
    }

    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, String> {
        let file = BlobFile { bytes, read: BTreeMap::new() };
        let version = file.u32_at(4).filter(|_| file.bytes.len() >= ALIGNMENT);
        if file.bytes.iter().take(ALIGNMENT).skip(8).any(|&byte| byte != 0) {
            return Err("the header of weight.bin has reserved fields that are not zero".into());
        }
        match version {
            None => Err(format!("weight.bin has {} bytes, less than its header; it is truncated", file.bytes.len())),
            Some(2) => Ok(file),
            Some(other) => Err(format!("weight.bin has version {other}, expected 2")),
        }
    }

    /// Reads the f16 or f32 tensor whose record starts at `offset`, widened to f32.
    pub(super) fn read(&mut self, offset: u64, declared: &Type) -> Result<Vec<f32>, String> {
        Ok(match declared.element {
            Element::F16 => {
                let data = self.data(offset, 1, 16, declared)?;
                data.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect()
            }
            Element::F32 => {
                let data = self.data(offset, 2, 32, declared)?;
                data.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
            }
            other => {
                let reason = format!("is declared as {}, expected fp16 or fp32", other.name());
                return Err(at_record(offset, &reason));
            }
        })
    }

    /// Reads the bytes of the packed whole numbers whose record starts at `offset`.
    pub(super) fn read_packed(&mut self, offset: u64, code: Code, declared: &Type) -> Result<&[u8], String> {
        self.data(offset, code.blob_type(), code.bits(), declared)
    }

    /// The bytes of a tensor of elements of `bits` bits each, which its record calls the type `blob_type`.
    fn data(&mut self, offset: u64, blob_type: u32, bits: usize, declared: &Type) -> Result<&[u8], String> {
        let record = usize::try_from(offset).unwrap_or(usize::MAX);
        let error = |reason: String| Err(at_record(offset, &reason));
        if record < ALIGNMENT || !record.is_multiple_of(ALIGNMENT) {
            return error(format!("is not at a multiple of {ALIGNMENT} after the header"));
        }
        let fields = (self.u32_at(record), self.u32_at(record + 4), self.u64_at(record + 8), self.u64_at(record + 16));
        let (Some(sentinel), Some(element), Some(size), Some(start)) = fields else {
            return error(format!("is beyond the file's {} bytes", self.bytes.len()));
        };
        if sentinel != SENTINEL {
            return error(format!("starts with {sentinel:#x}, expected {SENTINEL:#x}: there is no record"));
        }
        if element != blob_type {
            return error(format!("holds element type {element}, expected {blob_type} ({declared})"));
        }
        let expected_bits = (declared.count()? as u64).checked_mul(bits as u64);
        let expected_size = expected_bits.map(|bits| bits.div_ceil(8));
        if Some(size) != expected_size {
            return error(format!("holds {size} bytes, but {declared} needs {}", expected_size.unwrap_or_default()));
        }
        if start != offset + ALIGNMENT as u64 {
            return error(format!("says that its data is at {start}, expected directly after the record"));
        }
        let padding = size * 8 - expected_bits.unwrap_or_default();
        if self.u64_at(record + 24) != Some(padding) {
            let found = self.u64_at(record + 24).unwrap_or_default();
            return error(format!(
                "says that {found} bits of the last byte are padding, but {declared} leaves {padding}"
            ));
        }
        if self.bytes.get(record + 32..record + ALIGNMENT).is_none_or(|rest| rest.iter().any(|&byte| byte != 0)) {
            return error("has reserved fields that are not zero".into());
        }
        let range = usize::try_from(start).ok().zip(usize::try_from(start + size).ok());
        let Some(data) = range.and_then(|(start, end)| self.bytes.get(start..end)) else {
            return error(format!(
                "says that its data ends at {}, but the file has {} bytes; it is truncated",
                start.saturating_add(size),
                self.bytes.len()
            ));
        };
        let start = record + ALIGNMENT;
        self.read.insert(record, (start, start + data.len()));
        Ok(data)
    }

    /// Checks, after all blobs have been read, that they do not overlap, that the header counts them, and that the file
    /// holds nothing else.
    pub(super) fn finish(&self) -> Result<(), String> {
        let mut end = ALIGNMENT;
        let mut unused = None;
        for (&record, &(_, data_end)) in &self.read {
            if record < end {
                return Err(format!(
                    "two blobs of weight.bin overlap: the record at {record} is within the preceding blob"
                ));
            }
            let expected = end.next_multiple_of(ALIGNMENT);
            unused = unused.or((record != expected).then_some(expected));
            end = data_end;
        }
        let (counted, used) = (self.u32_at(0).unwrap_or_default(), self.read.len());
        if counted as usize != used {
            return Err(format!("weight.bin counts {counted} blobs, the program uses {used}"));
        }
        if let Some(unused) = unused {
            return Err(format!("weight.bin has unused data at {unused}"));
        }
        if self.bytes.len() != end {
            return Err(format!("weight.bin has {} bytes, its blobs end at {end}", self.bytes.len()));
        }
        Ok(())
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|&bytes| u32::from_le_bytes(bytes))
    }

    fn u64_at(&self, at: usize) -> Option<u64> {
        self.bytes.get(at..)?.first_chunk().map(|&bytes| u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of two f32 blobs of two values each, after a change.
    fn file(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 128 + 64 + 8];
        bytes[0] = 2;
        bytes[4] = 2;
        for (record, value) in [(64usize, 1.5f32), (192, 2.5)] {
            bytes[record..record + 4].copy_from_slice(&SENTINEL.to_le_bytes());
            bytes[record + 4] = 2;
            bytes[record + 8] = 8;
            bytes[record + 16..record + 24].copy_from_slice(&(record as u64 + 64).to_le_bytes());
            bytes[record + 64..record + 68].copy_from_slice(&value.to_le_bytes());
            bytes[record + 68..record + 72].copy_from_slice(&(-value).to_le_bytes());
        }
        change(&mut bytes);
        bytes
    }

    fn read(change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<f32>, String> {
        let mut blobs = BlobFile::new(file(change))?;
        let declared = Type { element: Element::F32, dims: vec![Some(2)] };
        let mut values = blobs.read(64, &declared)?;
        values.extend(blobs.read(192, &declared)?);
        blobs.finish()?;
        Ok(values)
    }

    #[test]
    fn values_are_read_and_every_fault_of_a_record_is_refused() {
        assert_eq!(read(|_| ()).unwrap(), [1.5, -1.5, 2.5, -2.5]);
        type Fault = (&'static str, fn(&mut Vec<u8>));
        let faults: [Fault; 14] = [
            ("less than its header", |b| b.truncate(40)),
            ("version 3", |b| b[4] = 3),
            ("there is no record", |b| b[64] = 0),
            ("element type 1", |b| b[68] = 1),
            ("holds 12 bytes", |b| b[72] = 12),
            ("directly after the record", |b| b[80] = 64),
            ("1 bits of the last byte are padding", |b| b[88] = 1),
            ("reserved fields", |b| b[96] = 1),
            ("reserved fields", |b| b[127] = 1),
            ("reserved fields", |b| b[63] = 1),
            ("truncated", |b| b.truncate(260)),
            ("beyond the file", |b| b.truncate(192)),
            ("counts 3", |b| b[0] = 3),
            ("blobs end at 264", |b| b.resize(400, 0)),
        ];
        for (word, fault) in faults {
            let error = read(fault).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
        let mut blobs = BlobFile::new(file(|_| ())).unwrap();
        let declared = Type { element: Element::F32, dims: vec![Some(2)] };
        assert!(blobs.read(65, &declared).unwrap_err().contains("multiple"));
        assert!(blobs.read(u64::MAX - 63, &declared).unwrap_err().contains("beyond"));
        // A blob that is never used, after or before the one that is, and one that reaches into the next.
        blobs.read(64, &declared).unwrap();
        assert!(blobs.finish().unwrap_err().contains("counts 2 blobs, the program uses 1"));
        blobs.read(192, &declared).unwrap();
        assert!(blobs.finish().is_ok());
        let first = blobs.read.remove(&64).unwrap();
        assert!(blobs.finish().unwrap_err().contains("the program uses 1"));
        blobs.bytes[0] = 1;
        assert!(blobs.finish().unwrap_err().contains("unused data at 64"));
        blobs.bytes[0] = 2;
        blobs.read.insert(64, first);
        blobs.read.insert(64, (128, 200));
        assert!(blobs.finish().unwrap_err().contains("overlap"));
    }
}
