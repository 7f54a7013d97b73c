//! The rows of a part as a scan reads them.

use super::Matrix;

/// A matrix whose rows a scan reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// The values, row by row.
    values: &'a [f32],
    /// The values in a row.
    dim: usize,
}

impl<'a> Rows<'a> {
    /// The rows of `dim` values that lie in `values` one after the other.
    pub(crate) fn new(values: &'a [f32], dim: usize) -> Self {
        Rows { values, dim }
    }

    /// Puts the rows `wanted`, counted from `first`, into `slices`.
    pub(crate) fn gather(&self, wanted: &[usize], first: usize, slices: &mut [&'a [f32]]) {
        for (slice, row) in slices.iter_mut().zip(wanted) {
            *slice = &self.values[(row - first) * self.dim..][..self.dim];
        }
    }
}

impl<'a> From<&'a Matrix> for Rows<'a> {
    fn from(matrix: &'a Matrix) -> Self {
        Rows::new(matrix.values(), matrix.dim())
    }
}
