//! The rows of a part in f16, for half the memory traffic: `x − m` rounded, with a reference `m` near all rows, so that little of
//! the ten bits is spent on what rows have in common.
//!
//! `index/half.LEVEL.COLUMN.safetensors` has the tensors `rows.000000`, … (F16, rows × values, one after the other in the
//! file), `reference` (F64) and `residual` (F64, one value): the largest distance of a row from what is stored of it, by which
//! errors of a scan are bounded. Results stay exact, since candidates are scored from the f32 rows. Anybody may delete the
//! file, whose checksums `mert-search verify` compares: to do so each time it is opened would take as long as a scan.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use half::f16;
use mert_fs::MappedFile;
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use safetensors::{SafeTensors, View};

use super::Matrix;
use super::checked::{checksum, write_checked};
use crate::{Result, SearchError};

/// The rows that one task rounds.
const TASK: usize = 4096;

/// The rows of a tensor, of which one is in memory when they are written.
const CHUNK: usize = 1 << 16;

/// What the names of tensors of rows begin with.
const ROWS: &str = "rows.";

/// A mapped file of rows in f16.
#[derive(Debug)]
pub(crate) struct HalfMatrix {
    file: MappedFile,
    rows: Range<usize>,
    dim: usize,
    /// What has to be added to each row.
    pub(crate) reference: Vec<f64>,
    /// The largest distance of a row from what is stored of it.
    pub(crate) residual: f64,
}

impl HalfMatrix {
    /// Opens a file of `rows` rows of `dim` values; `None` if it is missing or another one.
    pub(crate) fn open(path: &Path, rows: usize, dim: usize) -> Option<Self> {
        let file = MappedFile::open(path).ok()?;
        let (reference, residual, range) = {
            let tensors = SafeTensors::deserialize(file.bytes()).ok()?;
            let numbers = |name: &str, count: usize| -> Option<Vec<f64>> {
                let tensor = tensors.tensor(name).ok()?;
                let is_expected = tensor.dtype() == Dtype::F64 && tensor.shape() == [count];
                let bytes = tensor.data().as_chunks::<8>().0;
                is_expected.then(|| bytes.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
            };
            (
                numbers("reference", dim)?,
                *numbers("residual", 1)?.first()?,
                rows_range(&tensors, file.bytes(), rows, dim)?,
            )
        };
        bytemuck::try_cast_slice::<u8, f16>(&file.bytes()[range.clone()]).ok()?;
        (residual.is_finite() && residual >= 0.0).then_some(HalfMatrix { file, rows: range, dim, reference, residual })
    }

    /// Writes the rows of `matrix` less `reference` to `path`.
    ///
    /// # Errors
    /// [`SearchError::Query`] for values beyond the range of f16, and those of writing.
    pub(crate) fn write(path: &Path, matrix: &Matrix, reference: &[f64]) -> Result<()> {
        let starts = (0..matrix.rows().max(1)).step_by(CHUNK);
        let chunks: Vec<Chunk<'_>> =
            starts.map(|start| Chunk { matrix, reference, rows: start..matrix.rows().min(start + CHUNK) }).collect();
        // Rows are rounded twice, for their checksums and to be written, so that few of them are in memory.
        let mut tensors = Vec::with_capacity(chunks.len() + 2);
        let mut residual = 0.0f64;
        for (index, chunk) in chunks.into_iter().enumerate() {
            let (rounded, largest) = chunk.round();
            residual = residual.max(largest);
            let shape = [chunk.rows.len(), matrix.dim()];
            tensors.push((format!("{ROWS}{index:06}"), Tensor::Rows(chunk, shape), checksum(&rounded)));
        }
        // A thousandth for the roundings of the distance itself.
        residual *= 1.001;
        if !residual.is_finite() {
            return Err(SearchError::Query("vectors have values beyond the range of f16".into()));
        }
        for (name, values) in [("reference", reference.to_vec()), ("residual", vec![residual])] {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let checksum = checksum(&bytes);
            tensors.push((name.to_string(), Tensor::Numbers(bytes, [values.len()]), checksum));
        }
        write_checked(path, tensors)
    }

    /// The stored values of a row.
    pub(crate) fn row(&self, row: usize) -> &[f16] {
        // `open` has checked the alignment and the length.
        let all: &[f16] = bytemuck::cast_slice(&self.file.bytes()[self.rows.clone()]);
        &all[row * self.dim..][..self.dim]
    }
}

/// The bytes of `rows` rows of `dim` values, whose tensors lie one after the other.
fn rows_range(tensors: &SafeTensors<'_>, file: &[u8], rows: usize, dim: usize) -> Option<Range<usize>> {
    let mut chunks: Vec<_> = tensors.iter().filter(|(name, _)| name.starts_with(ROWS)).collect();
    chunks.sort_unstable_by_key(|(name, _)| *name);
    let start = chunks.first()?.1.data().as_ptr().addr() - file.as_ptr().addr();
    let (mut found, mut end) = (0, start);
    for (_, tensor) in &chunks {
        let &[rows, width] = tensor.shape() else { return None };
        let is_next = tensor.data().as_ptr().addr() - file.as_ptr().addr() == end;
        if tensor.dtype() != Dtype::F16 || width != dim || !is_next {
            return None;
        }
        (found, end) = (found + rows, end + tensor.data().len());
    }
    (found == rows).then_some(start..end)
}

/// Rows of a matrix that are rounded to f16, less a reference.
#[derive(Debug)]
struct Chunk<'a> {
    matrix: &'a Matrix,
    reference: &'a [f64],
    rows: Range<usize>,
}

impl Chunk<'_> {
    /// The bytes of the rounded rows, and the largest distance of a row from what they hold of it.
    fn round(&self) -> (Vec<u8>, f64) {
        let dim = self.matrix.dim();
        let round = |values: &[f32]| {
            let mut rounded = Vec::with_capacity(2 * values.len());
            let mut largest = 0.0f64;
            for row in values.chunks_exact(dim.max(1)) {
                let mut square = 0.0;
                for (&value, reference) in row.iter().zip(self.reference) {
                    let difference = f64::from(value) - reference;
                    let stored = f16::from_f64(difference);
                    square += (difference - f64::from(stored)).powi(2);
                    rounded.extend(stored.to_le_bytes());
                }
                // Of a row that is no number, which f64::max would pass over.
                largest = if square.is_nan() { f64::INFINITY } else { largest.max(square.sqrt()) };
            }
            (rounded, largest)
        };
        let values = &self.matrix.values()[self.rows.start * dim..self.rows.end * dim];
        let tasks: Vec<(Vec<u8>, f64)> = values.par_chunks(TASK * dim.max(1)).map(round).collect();
        let largest = tasks.iter().fold(0.0, |largest: f64, task| largest.max(task.1));
        (tasks.into_iter().flat_map(|task| task.0).collect(), largest)
    }
}

/// A tensor of the file.
#[derive(Debug)]
enum Tensor<'a> {
    /// Rows in f16, which are rounded when they are written.
    Rows(Chunk<'a>, [usize; 2]),
    /// The bytes of numbers in f64.
    Numbers(Vec<u8>, [usize; 1]),
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Tensor::Rows(..) => Dtype::F16,
            Tensor::Numbers(..) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Tensor::Rows(_, shape) => shape,
            Tensor::Numbers(_, shape) => shape,
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Tensor::Rows(chunk, _) => Cow::Owned(chunk.round().0),
            Tensor::Numbers(bytes, _) => Cow::Borrowed(bytes),
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Tensor::Rows(_, [rows, dim]) => 2 * rows * dim,
            Tensor::Numbers(bytes, _) => bytes.len(),
        }
    }
}
