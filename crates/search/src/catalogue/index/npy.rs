//! Matrices in `.npy` files that are written row by row, and the mapped times of segments.
//!
//! The header has a fixed length, so that the number of rows can be filled in at the end:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use bytemuck::Pod;
use mert_fs::MappedFile;

use super::record::CacheFile;
use crate::vectors::REBUILD;
use crate::{Result, SearchError};

/// The bytes of a header, which keeps the values that follow aligned.
const HEADER: usize = 128;

/// The element types of the matrices.
pub(super) trait Element: Pod {
    /// NumPy's name of the type.
    const DESCR: &'static str;
}

impl Element for f32 {
    const DESCR: &'static str = "<f4";
}

impl Element for f64 {
    const DESCR: &'static str = "<f8";
}

/// The header of a matrix.
fn header(descr: &str, rows: usize, columns: usize) -> [u8; HEADER] {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut header = [b' '; HEADER];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    // Two numbers of at most 20 digits leave room.
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[HEADER - 1] = b'\n';
    header
}

/// A matrix that is being written.
pub(super) struct NpyWriter<T> {
    file: BufWriter<File>,
    columns: usize,
    values: usize,
    checksum: crc32fast::Hasher,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> NpyWriter<T> {
    /// A matrix with rows of `columns` values in a new file.
    pub(super) fn create(path: &Path, columns: usize) -> Result<Self> {
        let file = File::create(path).map_err(SearchError::io(path))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&[0; HEADER]).map_err(SearchError::io(path))?;
        let (checksum, element) = (crc32fast::Hasher::new(), std::marker::PhantomData);
        Ok(NpyWriter { file, columns, values: 0, checksum, element })
    }

    /// Adds values, row by row.
    pub(super) fn push(&mut self, values: &[T]) -> std::io::Result<()> {
        self.values += values.len();
        let bytes = bytemuck::cast_slice(values);
        self.checksum.update(bytes);
        self.file.write_all(bytes)
    }

    /// Writes the header, syncs the file and returns its size and checksum; `source` is the digest of what it is made of.
    pub(super) fn finish(mut self, source: &str) -> std::io::Result<CacheFile> {
        let header = header(T::DESCR, self.values / self.columns.max(1), self.columns);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_data()?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header);
        checksum.combine(&self.checksum);
        let size = (HEADER + self.values * size_of::<T>()) as u64;
        Ok(CacheFile { size, crc32: checksum.finalize(), source: source.to_string() })
    }
}

/// Start and end of each segment of a part, in seconds, in a mapped file.
#[derive(Debug)]
pub(in crate::catalogue) struct Times {
    file: MappedFile,
}

impl Times {
    /// Maps the times of `segments` segments.
    pub(super) fn open(path: &Path, segments: usize) -> Result<Self> {
        let file = MappedFile::open(path).map_err(SearchError::io(path))?;
        let bytes = file.bytes();
        let is_valid = bytes.len() == HEADER + 16 * segments && bytes[..HEADER] == header(f64::DESCR, segments, 2);
        match is_valid && bytemuck::try_cast_slice::<u8, f64>(&bytes[HEADER..]).is_ok() {
            true => Ok(Times { file }),
            false => {
                let reason = format!("expected the times of {segments} segments");
                Err(SearchError::Damaged { path: path.to_path_buf(), reason, remedy: REBUILD })
            }
        }
    }

    /// Start and end of a segment.
    pub(in crate::catalogue) fn of(&self, segment: usize) -> (f64, f64) {
        // `open` has checked the length and the alignment.
        let values: &[f64] = bytemuck::cast_slice(&self.file.bytes()[HEADER..]);
        (values[2 * segment], values[2 * segment + 1])
    }
}
