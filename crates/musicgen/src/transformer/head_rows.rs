//! Keys, values or queries of all heads, head by head: the layout in which attention reads them.

use half::f16;
use half::slice::HalfFloatSliceExt;
use mert_linear::attention::{Rows, Values as Cached};
use rayon::prelude::*;

/// The type in which keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// f32, for models whose weights are f32.
    F32,
    /// f16: half the memory and half the traffic of each step.
    F16,
}

/// Steps from which on heads are copied in parallel.
const TASK_STEPS: usize = 8;

/// Rows `(heads, capacity, width)`, of which the first `len` of each head are filled.
#[derive(Debug, Clone)]
pub(crate) struct HeadRows {
    values: Values,
    heads: usize,
    capacity: usize,
    width: usize,
    len: usize,
}

#[derive(Debug, Clone)]
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl HeadRows {
    /// Memory for `capacity` rows of `heads` heads of `width` values.
    pub(crate) fn new(precision: Precision, heads: usize, capacity: usize, width: usize) -> Self {
        let count = heads * capacity * width;
        let values = match precision {
            Precision::F32 => Values::F32(vec![0.0; count]),
            Precision::F16 => Values::F16(vec![f16::ZERO; count]),
        };
        HeadRows { values, heads, capacity, width, len: 0 }
    }

    /// The number of filled rows of a head.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends rows of all heads `(steps, heads · width)`. Rows beyond the capacity are an error of the caller.
    pub(crate) fn extend(&mut self, rows: &[f32]) {
        let (width, row) = (self.width, self.heads * self.width);
        let (steps, start, stride) = (rows.len() / row, self.len, self.capacity * self.width);
        debug_assert!(start + steps <= self.capacity);
        let part = |head: usize, step: usize| &rows[step * row + head * width..][..width];
        // A task for each head takes longer to start than a few steps take to copy.
        let heads_in_task = if steps < TASK_STEPS { self.heads } else { 1 };
        match &mut self.values {
            Values::F32(values) => {
                let heads = values.par_chunks_mut(stride).enumerate().with_min_len(heads_in_task);
                heads.for_each(|(head, values)| {
                    let stored = values[start * width..].chunks_exact_mut(width).take(steps);
                    stored.enumerate().for_each(|(step, stored)| stored.copy_from_slice(part(head, step)));
                });
            }
            Values::F16(values) => {
                let heads = values.par_chunks_mut(stride).enumerate().with_min_len(heads_in_task);
                heads.for_each(|(head, values)| {
                    let stored = values[start * width..].chunks_exact_mut(width).take(steps);
                    for (step, stored) in stored.enumerate() {
                        stored.convert_from_f32_slice(part(head, step));
                    }
                });
            }
        }
        self.len += steps;
    }

    /// All filled rows, widened: `(heads, len, width)`.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.heads * self.len * self.width];
        for (i, out) in all.chunks_exact_mut(self.width).enumerate() {
            self.row(i / self.len, i % self.len, out);
        }
        all
    }

    /// The first `count` rows of a head.
    pub(crate) fn rows(&self, head: usize, count: usize) -> Rows<'_> {
        let range = head * self.capacity * self.width..(head * self.capacity + count) * self.width;
        let values = match &self.values {
            Values::F32(values) => Cached::F32(&values[range]),
            Values::F16(values) => Cached::F16(&values[range]),
        };
        Rows { values, stride: self.width, width: self.width }
    }

    /// Writes one row of a head to `out`, widened.
    pub(crate) fn row(&self, head: usize, row: usize, out: &mut [f32]) {
        let range = (head * self.capacity + row) * self.width..(head * self.capacity + row + 1) * self.width;
        match &self.values {
            Values::F32(values) => out.copy_from_slice(&values[range]),
            Values::F16(values) => values[range].convert_to_f32_slice(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stored_by_head() {
        for precision in [Precision::F32, Precision::F16] {
            let mut rows = HeadRows::new(precision, 2, 3, 2);
            rows.extend(&[1.0, 2.0, 3.0, 4.0]);
            rows.extend(&[5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
            let row = |head, row| {
                let mut out = [0.0; 2];
                rows.row(head, row, &mut out);
                out
            };
            assert_eq!((rows.len(), row(0, 0), row(1, 0), row(1, 2)), (3, [1.0, 2.0], [3.0, 4.0], [11.0, 12.0]));
        }
    }
}
