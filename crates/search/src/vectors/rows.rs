//! The rows of a part as a scan reads them.

use super::Matrix;

/// A matrix whose rows a scan reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// The rows in f32.
    Single(&'a Matrix),
}

impl<'a> Rows<'a> {
    /// Puts the rows `wanted`, counted from `first`, into `slices`, if need be through `widened`.
    pub(crate) fn gather<'b>(
        &self,
        wanted: &[usize],
        first: usize,
        _widened: &'b mut Vec<f32>,
        slices: &mut [&'b [f32]],
    ) where
        'a: 'b,
    {
        match self {
            Rows::Single(matrix) => {
                let (values, dim) = (matrix.values(), matrix.dim());
                for (slice, row) in slices.iter_mut().zip(wanted) {
                    *slice = &values[(row - first) * dim..][..dim];
                }
            }
        }
    }
}
