//! The rows of a part as a scan reads them: in f32 as they are, or in f16 and widened a few at a time.

use half::f16;
use mert_simd::{Isa, Kernel};
use pulp::Simd;

use super::dots::{BLOCK, fetch};
use crate::vectors::{HalfMatrix, Matrix};

/// The rows in f16 that are widened at once: they stay in the first-level cache until they are multiplied.
const WIDENED: usize = 4;

/// The values in f16 of a cache line.
const LINE: usize = 32;

/// A matrix whose rows a scan reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Values in f32, row by row, and the number of values in a row.
    Single(&'a [f32], usize),
    /// Values in f16, less a reference.
    Half(&'a HalfMatrix, usize),
}

impl Rows<'_> {
    /// Calls `sink(index, rows)` for consecutive rows of `wanted`, of which there are at most [`BLOCK`] and the first is
    /// `wanted[index]`. They are counted from `first`; those in f16 are widened in `buffer`.
    pub(super) fn for_each_tile(
        &self,
        isa: Isa,
        wanted: &[usize],
        first: usize,
        buffer: &mut Vec<f32>,
        mut sink: impl FnMut(usize, &[&[f32]]),
    ) {
        match *self {
            Rows::Single(values, dim) => {
                let mut slices: [&[f32]; BLOCK] = [&[]; BLOCK];
                for (slice, row) in slices.iter_mut().zip(wanted) {
                    *slice = &values[(row - first) * dim..][..dim];
                }
                sink(0, &slices[..wanted.len()]);
            }
            Rows::Half(matrix, dim) => {
                buffer.resize(WIDENED * dim, 0.0);
                let mut tiles = wanted.chunks(WIDENED).enumerate().peekable();
                while let Some((index, wanted)) = tiles.next() {
                    let targets = buffer.chunks_exact_mut(dim.max(1));
                    for (values, row) in targets.zip(wanted) {
                        isa.run_dots(Widen { stored: matrix.row(row - first), values });
                    }
                    // While these rows are multiplied, the next arrive.
                    for row in tiles.peek().into_iter().flat_map(|(_, next)| *next) {
                        matrix.row(row - first).chunks(LINE).for_each(|line| fetch(&line[0]));
                    }
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

/// Values in f16, which are finite, as f32.
///
/// `half` converts eight at a time through a function that is not inlined, which takes longer than to read f32.
struct Widen<'a> {
    stored: &'a [f16],
    values: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const QUERIES: usize>(self, _: S) {
        // The exponents' bias is 15 in f16 and 127 in f32. A product with a power of two is exact, that of a subnormal too.
        let scale = f32::from_bits((127 + 127 - 15) << 23);
        for (value, stored) in self.values.iter_mut().zip(self.stored) {
            let bits = u32::from(stored.to_bits());
            let magnitude = f32::from_bits((bits & 0x7fff) << 13) * scale;
            *value = f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_finite_values_are_widened_to_their_bits() {
        let stored: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()).collect();
        for isa in Isa::available() {
            let mut values = vec![f32::NAN; stored.len()];
            isa.run_dots(Widen { stored: &stored, values: &mut values });
            assert!(stored.iter().zip(&values).all(|(stored, value)| stored.to_f32().to_bits() == value.to_bits()));
        }
    }
}
