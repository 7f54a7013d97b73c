//! Matrix products with packed weights: `out = activation(x · weightᵀ + bias)`.
//!
//! The loops are those of [Goto and van de Geijn (2008)](https://doi.org/10.1145/1356052.1356053), with the weights in
//! the place of the operand that is packed ahead of time: a block of packed rows of `x` stays in the second-level
//! cache, while the panels of the weight are multiplied with it one by one.

use mert_simd::{Isa, Kernel, LINE, left_groups, multiply};
use pulp::Simd;

use super::super::memory::{GemmScratch, PackedWeight};
use super::left_operand::{LeftOperand, pack_left};
use super::output::{Destination, Epilogue, Listed, Output, PanelStore, RowMajor, Strided, Tiled};
use super::right_operand;

/// Rows of `x` in a block. With `INNER_BLOCK` steps they take 740 kB, less than half of a second-level cache of 2 MB,
/// and a panel of weights, which comes from farther away, is used 30 times.
const ROW_BLOCK: usize = 240;

/// Inner steps that are summed in registers before the result is written.
const INNER_BLOCK: usize = 768;

/// The rows of a block when `rows` rows are split into equal blocks of whole tiles, about `ROW_BLOCK`.
pub(crate) fn row_block(rows: usize, tile_rows: usize) -> usize {
    let blocks = ((rows + ROW_BLOCK / 2) / ROW_BLOCK).max(1);
    rows.div_ceil(blocks).next_multiple_of(tile_rows).max(tile_rows)
}

/// A product, or the part of one that one thread computes.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    pub(crate) x: LeftOperand<'a>,
    pub(crate) columns: Columns<'a>,
    pub(crate) out: Output<'a>,
}

/// The columns of the result that a product computes, and the operations on them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) weight: &'a PackedWeight,
    /// The panel of the weight that gives the first column of the result.
    pub(crate) first_panel: usize,
    pub(crate) epilogue: Epilogue,
}

impl Product<'_> {
    /// Computes the product on this thread.
    pub(crate) fn run(&mut self, isa: Isa, scratch: &mut GemmScratch) {
        let Product { x, columns, out } = self;
        isa.run(columns.weight.tile().shape, Blocked { x: *x, columns: *columns, out, scratch });
    }
}

struct Blocked<'a, 'b> {
    x: LeftOperand<'a>,
    columns: Columns<'a>,
    out: &'b mut Output<'a>,
    scratch: &'b mut GemmScratch,
}

impl Kernel for Blocked<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Blocked { x, columns, out, scratch } = self;
        match out {
            Output::Rows(out) => {
                let Some(width) = out.first().map(|row| row.len()) else { return };
                let rows = row_block(out.len(), ROWS);
                for (i, out) in out.chunks_mut(rows).enumerate() {
                    let (x, rows) = (x.after(i * rows), out.len());
                    block::<S, _, ROWS, VECTORS>(simd, x, rows, columns, width, &mut RowMajor(Listed(out)), scratch);
                }
            }
            Output::Strided { values, stride, columns: width } => {
                let rows = row_block(values.len().div_ceil(*stride), ROWS);
                for (i, values) in values.chunks_mut(rows * *stride).enumerate() {
                    let (x, rows) = (x.after(i * rows), values.len().div_ceil(*stride));
                    let mut out = RowMajor(Strided { values, stride: *stride });
                    block::<S, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut out, scratch);
                }
            }
            Output::Tiles { lines, columns: width } => {
                let tiles = row_block(lines.len() * ROWS, ROWS) / ROWS;
                for (i, lines) in lines.chunks_mut(tiles).enumerate() {
                    let (x, rows) = (x.after(i * tiles * ROWS), lines.len() * ROWS);
                    block::<S, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut Tiled(lines), scratch);
                }
            }
        }
    }
}

/// Computes the product of as many rows as the cache holds.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn block<S: Simd, D: Destination, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    x: LeftOperand<'_>,
    rows: usize,
    columns: Columns<'_>,
    width: usize,
    out: &mut D,
    scratch: &mut GemmScratch,
) {
    let tiles = rows.div_ceil(ROWS);
    let Columns { weight, first_panel, epilogue } = columns;
    let (inputs, panel_columns) = (weight.inputs(), VECTORS * S::F32_LANES);
    let padded = inputs.next_multiple_of(LINE);
    let inner_block = padded.div_ceil(padded.div_ceil(INNER_BLOCK).max(1)).next_multiple_of(weight.step_multiple());
    for first in (0..padded).step_by(inner_block) {
        let steps = inner_block.min(padded - first);
        let (left, tile_size, start) = match x {
            LeftOperand::Rows(x) => {
                (pack_left::<ROWS>(x, rows, first, steps, inputs, &mut scratch.left), ROWS * steps, 0)
            }
            LeftOperand::Packed(x) => (x.tiles(tiles), x.tile_size(), first * ROWS),
        };
        for (panel, column) in (first_panel..).zip((0..width).step_by(panel_columns)) {
            let part = weight.panel(panel, first, steps);
            let right = right_operand::to_f32::<S, VECTORS>(simd, part, &mut scratch.widened);
            let next = match column + panel_columns < width {
                true => weight.panel_bytes(panel + 1, first, steps),
                false => weight.panel_bytes(first_panel, first + steps, inner_block.min(padded - first - steps)),
            };
            let mut ahead = prefetch_parts(next, tiles);
            let store = PanelStore {
                columns: (column, width.min(column + panel_columns)),
                bias: (first == 0).then(|| weight.bias(panel)),
                accumulate: first > 0 || epilogue.accumulate,
                activation: epilogue.activation.filter(|_| first + steps == padded),
            };
            for tile in 0..tiles {
                let ahead = ahead.next().unwrap_or_default();
                let left = left_groups(&left[tile * tile_size + start..][..ROWS * steps]);
                let sums = multiply::<S, ROWS, VECTORS>(simd, left, right, ahead);
                out.store::<S, ROWS, VECTORS>(simd, &store, &sums, tile);
            }
        }
    }
}

/// The next panel in as many parts as there are tiles, each to be prefetched during one of them.
#[inline(always)]
fn prefetch_parts(panel: &[u8], tiles: usize) -> std::slice::Chunks<'_, u8> {
    panel.chunks(panel.len().div_ceil(tiles).next_multiple_of(size_of::<f32>() * LINE).max(1))
}
