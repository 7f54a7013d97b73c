//! The rows of a part as a scan reads them.

use super::{HalfMatrix, Matrix};

/// A matrix whose rows a scan reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Values in f32, row by row, and the number of values in a row.
    Single(&'a [f32], usize),
    /// Values in f16, less a reference.
    Half(&'a HalfMatrix, usize),
}

impl<'a> Rows<'a> {
    /// Puts the rows `wanted`, counted from `first`, into `slices`, those in f16 through `widened`.
    pub(crate) fn gather<'b>(&self, wanted: &[usize], first: usize, widened: &'b mut Vec<f32>, slices: &mut [&'b [f32]])
    where
        'a: 'b,
    {
        match *self {
            Rows::Single(values, dim) => {
                for (slice, row) in slices.iter_mut().zip(wanted) {
                    *slice = &values[(row - first) * dim..][..dim];
                }
            }
            Rows::Half(matrix, dim) => {
                widened.resize(wanted.len() * dim, 0.0);
                let targets = widened.chunks_exact_mut(dim.max(1));
                targets.zip(wanted).for_each(|(values, row)| matrix.widen(row - first, values));
                slices.iter_mut().zip(widened.chunks_exact(dim.max(1))).for_each(|(slice, values)| *slice = values);
            }
        }
    }
}

impl<'a> From<&'a Matrix> for Rows<'a> {
    fn from(matrix: &'a Matrix) -> Self {
        Rows::Single(matrix.values(), matrix.dim())
    }
}
