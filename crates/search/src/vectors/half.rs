//! The rows of a part in f16, for half the memory traffic: `x − m` rounded, with a reference `m` near all rows, so that little of
//! the ten bits is spent on what rows have in common.
//!
//! `index/half.LEVEL.COLUMN.safetensors` has the tensors `rows` (F16, rows × values), `reference` (F64) and `residual` (F64, one
//! value): the largest distance of a row from what is stored of it, by which errors of a scan are bounded. Results stay exact,
//! since candidates are scored from the f32 rows. Anybody may delete the file.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use mert_fs::{MappedFile, replace_file};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::Matrix;
use crate::{Result, SearchError};

/// The rows that one task rounds.
const TASK: usize = 4096;

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
            let stored = tensors.tensor("rows").ok()?;
            if stored.dtype() != Dtype::F16 || stored.shape() != [rows, dim] {
                return None;
            }
            let start = stored.data().as_ptr().addr() - file.bytes().as_ptr().addr();
            (numbers("reference", dim)?, *numbers("residual", 1)?.first()?, start..start + stored.data().len())
        };
        bytemuck::try_cast_slice::<u8, f16>(&file.bytes()[range.clone()]).ok()?;
        (residual.is_finite() && residual >= 0.0).then_some(HalfMatrix { file, rows: range, dim, reference, residual })
    }

    /// Writes the rows of `matrix` less `reference` to `path`.
    ///
    /// # Errors
    /// [`SearchError::Query`] for values beyond the range of f16, and those of writing.
    pub(crate) fn write(path: &Path, matrix: &Matrix, reference: &[f64]) -> Result<()> {
        let round = |values: &[f32]| {
            let mut rounded = Vec::with_capacity(2 * values.len());
            let mut largest = 0.0f64;
            for row in values.chunks_exact(matrix.dim().max(1)) {
                let mut square = 0.0;
                for (&value, reference) in row.iter().zip(reference) {
                    let difference = f64::from(value) - reference;
                    let stored = f16::from_f64(difference);
                    square += (difference - f64::from(stored)).powi(2);
                    rounded.extend(stored.to_le_bytes());
                }
                largest = largest.max(square.sqrt());
            }
            (rounded, largest)
        };
        let tasks: Vec<(Vec<u8>, f64)> = matrix.values().par_chunks(TASK * matrix.dim().max(1)).map(round).collect();
        // A thousandth for the roundings of the distance itself.
        let residual = 1.001 * tasks.iter().fold(0.0, |largest: f64, task| largest.max(task.1));
        if !residual.is_finite() {
            return Err(SearchError::Query("vectors have values beyond the range of f16".into()));
        }
        let rows: Vec<u8> = tasks.into_iter().flat_map(|task| task.0).collect();
        let bytes = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
        let (reference, residual) = (bytes(reference), bytes(&[residual]));
        let tensors = [
            ("rows", Dtype::F16, vec![matrix.rows(), matrix.dim()], &rows),
            ("reference", Dtype::F64, vec![matrix.dim()], &reference),
            ("residual", Dtype::F64, vec![1], &residual),
        ];
        let failed = |error: safetensors::SafeTensorError| SearchError::damaged(path, error.to_string());
        let mut views = Vec::with_capacity(tensors.len());
        for (name, dtype, shape, bytes) in tensors {
            views.push((name, TensorView::new(dtype, shape, bytes).map_err(failed)?));
        }
        let file = serialize(views, None::<HashMap<String, String>>).map_err(failed)?;
        Ok(replace_file(path, |output| output.write_all(&file))?)
    }

    /// Puts a row, without the reference, into `values`.
    pub(crate) fn widen(&self, row: usize, values: &mut [f32]) {
        // `open` has checked the alignment and the length.
        let all: &[f16] = bytemuck::cast_slice(&self.file.bytes()[self.rows.clone()]);
        all[row * self.dim..][..self.dim].convert_to_f32_slice(values);
    }
}
