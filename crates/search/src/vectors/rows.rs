//! The rows of a part as a scan reads them.

use super::{HalfMatrix, Matrix};

/// The most rows that are read at once.
pub(crate) const MOST_ROWS: usize = 128;

/// The rows in f16 that are widened at once: they stay in the first-level cache until they are multiplied.
const WIDENED: usize = 4;

/// A matrix whose rows a scan reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Values in f32, row by row, and the number of values in a row.
    Single(&'a [f32], usize),
    /// Values in f16, less a reference.
    Half(&'a HalfMatrix, usize),
}

impl Rows<'_> {
    /// Calls `sink(index, rows)` for consecutive rows of `wanted`, of which there are at most [`MOST_ROWS`] and the first is
    /// `wanted[index]`. They are counted from `first`; those in f16 are widened in `buffer`.
    pub(crate) fn for_each_tile(
        &self,
        wanted: &[usize],
        first: usize,
        buffer: &mut Vec<f32>,
        mut sink: impl FnMut(usize, &[&[f32]]),
    ) {
        let mut slices: [&[f32]; MOST_ROWS] = [&[]; MOST_ROWS];
        match *self {
            Rows::Single(values, dim) => {
                for (slice, row) in slices.iter_mut().zip(wanted) {
                    *slice = &values[(row - first) * dim..][..dim];
                }
                sink(0, &slices[..wanted.len()]);
            }
            Rows::Half(matrix, dim) => {
                buffer.resize(WIDENED * dim, 0.0);
                for (index, wanted) in wanted.chunks(WIDENED).enumerate() {
                    let targets = buffer.chunks_exact_mut(dim.max(1));
                    targets.zip(wanted).for_each(|(values, row)| matrix.widen(row - first, values));
                    let mut slices: [&[f32]; WIDENED] = [&[]; WIDENED];
                    slices.iter_mut().zip(buffer.chunks_exact(dim.max(1))).for_each(|(slice, values)| *slice = values);
                    sink(WIDENED * index, &slices[..wanted.len()]);
                }
            }
        }
    }
}

impl<'a> From<&'a Matrix> for Rows<'a> {
    fn from(matrix: &'a Matrix) -> Self {
        Rows::Single(matrix.values(), matrix.dim())
    }
}
