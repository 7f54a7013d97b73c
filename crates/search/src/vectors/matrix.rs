//! A matrix of f32 in a mapped `.npy` file, which NumPy maps as well (`np.load(path, mmap_mode="r")`).

use std::io::{BufWriter, Write};
use std::path::Path;

use mert_fs::{AtomicFile, MappedFile, check_npy_header};
use npyz::{NpyHeader, WriterBuilder};

use crate::{Result, SearchError};

/// What restores a damaged cache.
pub(crate) const REBUILD: &str = "It is a cache: `mert-search verify --repair` writes it again";

/// A matrix of f32, its rows one after the other, in a mapped file.
#[derive(Debug)]
pub struct Matrix {
    file: MappedFile,
    /// The offset of the first value in the file, in bytes.
    offset: usize,
    rows: usize,
    dim: usize,
}

impl Matrix {
    /// Maps a matrix of `rows` rows of `dim` values.
    ///
    /// # Errors
    /// [`SearchError::Io`], and [`SearchError::Damaged`] if the file holds something else.
    pub fn open(path: &Path, rows: usize, dim: usize) -> Result<Self> {
        let file = MappedFile::open(path).map_err(SearchError::io(path))?;
        let damaged = |reason: String| SearchError::Damaged { path: path.to_path_buf(), reason, remedy: REBUILD };
        let mut rest = file.bytes();
        let header = check_npy_header(rest)
            .and_then(|()| NpyHeader::from_reader(&mut rest))
            .map_err(|error| damaged(error.to_string()))?;
        let expected = [rows as u64, dim as u64];
        if header.shape() != expected || header.dtype().descr() != "'<f4'" || header.order() != npyz::Order::C {
            let (found, kind) = (header.shape(), header.dtype().descr());
            return Err(damaged(format!(
                "expected f32 of the shape {expected:?}, found {kind} of the shape {found:?}"
            )));
        }
        let offset = file.bytes().len() - rest.len();
        let values: Result<&[f32], _> = bytemuck::try_cast_slice(rest);
        match values {
            Ok(values) if values.len() == rows * dim => Ok(Matrix { file, offset, rows, dim }),
            _ => Err(damaged(format!("expected {} bytes of values, found {}", 4 * rows * dim, rest.len()))),
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// All bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.file.bytes()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        // `open` has checked the length and the alignment.
        bytemuck::cast_slice(&self.file.bytes()[self.offset..])
    }

    /// The values of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values()[row * self.dim..][..self.dim]
    }
}

/// Writes a matrix whose rows of `dim` values are `values`.
///
/// # Errors
/// [`SearchError::Write`] or [`SearchError::Io`].
pub fn write_matrix(path: &Path, dim: usize, values: &[f32]) -> Result<()> {
    let mut output = AtomicFile::create(path, true)?;
    let mut write = || {
        let mut buffer = BufWriter::new(output.file_mut());
        let shape = [(values.len() / dim.max(1)) as u64, dim as u64];
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut buffer).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()?;
        buffer.flush()
    };
    write().map_err(SearchError::io(path))?;
    Ok(output.commit()?)
}
