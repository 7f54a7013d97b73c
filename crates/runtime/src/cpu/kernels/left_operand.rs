//! The left operand of a product: packed activations, or rows that are packed block by block.

use mert_simd::{Buffer, LINE};

use super::super::memory::PackedRows;

/// The left operand of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeftOperand<'a> {
    /// Rows that the product packs, block by block.
    Rows(Rows<'a>),
    /// Activations that are packed already.
    Packed(PackedRows<'a>),
}

/// Rows in any memory: row `i` is `values[i · row_stride..][..the inner dimension]`. Rows may overlap, which makes a
/// convolution over consecutive frames a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    values: &'a [f32],
    row_stride: usize,
    subtrahend: Option<Subtrahend<'a>>,
}

/// Values that are subtracted from some inner steps of each row, in whole lines.
#[derive(Debug, Clone, Copy)]
struct Subtrahend<'a> {
    values: &'a [f32],
    start: usize,
    end: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(values: &'a [f32], row_stride: usize) -> Self {
        Rows { values, row_stride, subtrahend: None }
    }

    /// The rows with `values[i · row_stride..]` subtracted from row `i` in the inner steps `steps`, which are whole
    /// lines.
    pub(crate) fn minus(self, values: &'a [f32], steps: std::ops::Range<usize>) -> Self {
        Rows { subtrahend: Some(Subtrahend { values, start: steps.start, end: steps.end }), ..self }
    }

    /// The rows from `row` on.
    pub(crate) fn after(self, row: usize) -> Self {
        let start = row * self.row_stride;
        let subtrahend = self.subtrahend.map(|other| Subtrahend { values: &other.values[start..], ..other });
        Rows { values: &self.values[start..], subtrahend, ..self }
    }
}

impl LeftOperand<'_> {
    /// The operand from row `row` on, which is the first of a tile.
    #[inline(always)]
    pub(crate) fn after(self, row: usize) -> Self {
        match self {
            LeftOperand::Rows(x) => LeftOperand::Rows(x.after(row)),
            LeftOperand::Packed(x) => LeftOperand::Packed(x.after(row)),
        }
    }
}

/// Packs `steps` inner steps of `rows` rows, from step `first` on, into tiles of groups, with zeros after the inner
/// dimension `inputs` and below the last row.
#[inline(always)]
pub(crate) fn pack_left<'a, const ROWS: usize>(
    x: Rows<'_>,
    rows: usize,
    first: usize,
    steps: usize,
    inputs: usize,
    packed: &'a mut Buffer,
) -> &'a [f32] {
    let packed = packed.take(rows.next_multiple_of(ROWS) * steps);
    for (tile, packed) in packed.chunks_exact_mut(ROWS * steps).enumerate() {
        for row in 0..ROWS {
            let groups = packed.as_chunks_mut::<LINE>().0.iter_mut().skip(row).step_by(ROWS);
            let index = tile * ROWS + row;
            if index >= rows {
                groups.for_each(|group| *group = [0.0; LINE]);
                continue;
            }
            let source = &x.values[index * x.row_stride + first..][..steps.min(inputs - first)];
            let (whole, rest) = source.as_chunks::<LINE>();
            for (i, group) in groups.enumerate() {
                *group = whole.get(i).copied().unwrap_or_else(|| {
                    let mut padded = [0.0; LINE];
                    padded[..rest.len()].copy_from_slice(rest);
                    padded
                });
                let step = first + i * LINE;
                if let Some(other) = x.subtrahend
                    && (other.start..other.end).contains(&step)
                    && let Some(other) = other.values[index * x.row_stride + step..].first_chunk::<LINE>()
                {
                    for i in 0..LINE {
                        group[i] -= other[i];
                    }
                }
            }
        }
    }
    packed
}
