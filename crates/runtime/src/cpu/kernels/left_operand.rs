//! The left operand of a product: packed activations, or rows that are packed block by block.

use mert_simd::{Buffer, Factors, INT8_BLOCK, Int8Scale, LINE, pack_bf16, pack_int8_row};
use pulp::Simd;

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
    packed: &'a mut Buffer<u32>,
) -> &'a [u32] {
    let words = packed.take(rows.next_multiple_of(ROWS) * steps);
    let packed: &mut [f32] = bytemuck::cast_slice_mut(words);
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
                x.subtract(group, index, first + i * LINE);
            }
        }
    }
    words
}

/// Packs a block of the inner dimension of `rows` rows, from value `first` on, as `words` words of bf16 for each row, with zeros
/// as [`pack_left`] has them.
#[inline(always)]
pub(crate) fn pack_left_bf16<'a, S: Simd, const ROWS: usize>(
    simd: S,
    x: Rows<'_>,
    rows: usize,
    (first, words): (usize, usize),
    inputs: usize,
    packed: &'a mut Buffer<u32>,
) -> &'a [u32] {
    let packed = packed.take(rows.next_multiple_of(ROWS) * words);
    for (tile, packed) in packed.chunks_exact_mut(ROWS * words).enumerate() {
        for row in 0..ROWS {
            let groups = packed.as_chunks_mut::<LINE>().0.iter_mut().skip(row).step_by(ROWS);
            let index = tile * ROWS + row;
            if index >= rows {
                groups.for_each(|group| *group = [0; LINE]);
                continue;
            }
            for (i, group) in groups.enumerate() {
                let step = first + 2 * i * LINE;
                pack_bf16(simd, &x.line(index, step, inputs), &x.line(index, step + LINE, inputs), group);
            }
        }
    }
    packed
}

/// Packs a block of the inner dimension of `rows` rows, from value `first` on, as `words` words of 8-bit integers for each row,
/// with zeros as [`pack_left`] has them, and the scales and offsets of each tile by row.
#[inline(always)]
pub(crate) fn pack_left_int8<'a, S: Simd, const ROWS: usize>(
    simd: S,
    x: Rows<'_>,
    rows: usize,
    (first, words): (usize, usize),
    (inputs, flip): (usize, u32),
    packed: &'a mut Buffer<u32>,
    scales: &'a mut Buffer,
) -> (&'a [u32], &'a [f32]) {
    let padded = rows.next_multiple_of(ROWS);
    let (packed, scales) = (packed.take(padded * words), scales.take(2 * padded));
    let mut values = [0.0; INT8_BLOCK];
    let steps = words * Factors::Int8.in_word();
    for index in 0..padded {
        let (tile, row) = (index / ROWS, index % ROWS);
        let scales = &mut scales[tile * 2 * ROWS..][..2 * ROWS];
        let groups = packed[tile * ROWS * words..][..ROWS * words].as_chunks_mut::<LINE>().0.iter_mut();
        let groups = groups.skip(row).step_by(ROWS);
        if index >= rows {
            groups.for_each(|group| *group = [0; LINE]);
            (scales[row], scales[ROWS + row]) = (0.0, 0.0);
            continue;
        }
        let values = &mut values[..steps];
        for (i, line) in values.as_chunks_mut::<LINE>().0.iter_mut().enumerate() {
            *line = x.line(index, first + i * LINE, inputs);
        }
        let Int8Scale { scale, offset } = pack_int8_row(simd, values, flip, groups);
        (scales[row], scales[ROWS + row]) = (scale, offset);
    }
    (packed, scales)
}

impl Rows<'_> {
    /// Values `step..step + LINE` of row `index`, with zeros after the inner dimension `inputs`.
    #[inline(always)]
    fn line(&self, index: usize, step: usize, inputs: usize) -> [f32; LINE] {
        let start = index * self.row_stride + step;
        let left = inputs.saturating_sub(step);
        let mut line = match self.values.get(start..).and_then(|values| values.first_chunk::<LINE>()) {
            Some(line) if left >= LINE => *line,
            _ => {
                let mut padded = [0.0; LINE];
                if let Some(rest) = self.values.get(start..) {
                    padded.iter_mut().zip(rest).take(left).for_each(|(padded, value)| *padded = *value);
                }
                padded
            }
        };
        self.subtract(&mut line, index, step);
        line
    }

    /// Subtracts what there is to subtract from values `step..step + LINE` of row `index`.
    #[inline(always)]
    fn subtract(&self, line: &mut [f32; LINE], index: usize, step: usize) {
        if let Some(other) = self.subtrahend
            && (other.start..other.end).contains(&step)
            && let Some(other) = other.values[index * self.row_stride + step..].first_chunk::<LINE>()
        {
            for i in 0..LINE {
                line[i] -= other[i];
            }
        }
    }
}
