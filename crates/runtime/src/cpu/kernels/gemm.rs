//! Matrix products with packed weights: `out = activation(x · weightᵀ + bias)`.
//!
//! The loops are those of [Goto and van de Geijn (2008)](https://doi.org/10.1145/1356052.1356053), with the weights in
//! the place of the operand that is packed ahead of time: a block of packed rows of `x` stays in the second-level
//! cache, while the panels of the weight are multiplied with it one by one.

use mert_simd::{Factors, Kernel, LINE};
use pulp::Simd;

use super::super::arithmetic::Arithmetic;
use super::super::memory::{GemmScratch, PackedWeight};
use super::left_operand::LeftOperand;
use super::math::Accuracy;
use super::operands::{Floats, Left, Operands, Right};
use super::output::{Destination, Epilogue, Listed, Output, PanelStore, RowMajor, Strided, Tiled, TiledBf16};

/// Rows of `x` in a block. With the 768 words of a block of the inner dimension they take 740 kB, less than half of a
/// second-level cache of 2 MB, and a panel of weights, which comes from farther away, is used 30 times.
const ROW_BLOCK: usize = 240;

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
    pub(crate) fn run(&mut self, arithmetic: Arithmetic, scratch: &mut GemmScratch) {
        let Product { x, columns, out } = self;
        let (isa, shape) = (arithmetic.isa, columns.weight.tile().shape);
        let (x, columns) = (*x, *columns);
        let factors = columns.weight.factors();
        let _prepared = arithmetic.prepare(factors, columns.weight.tile().rows);
        match factors {
            Factors::F32 => isa.run(shape, Blocked { x, columns, out, scratch, operands: Floats }),
            Factors::Bf16 => isa.run(shape, Blocked { x, columns, out, scratch, operands: arithmetic.bf16 }),
            Factors::Int8 => isa.run(shape, Blocked { x, columns, out, scratch, operands: arithmetic.int8 }),
        }
    }
}

struct Blocked<'a, 'b, O> {
    x: LeftOperand<'a>,
    columns: Columns<'a>,
    out: &'b mut Output<'a>,
    scratch: &'b mut GemmScratch,
    operands: O,
}

impl<O: Operands> Kernel for Blocked<'_, '_, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Blocked { x, columns, out, scratch, operands } = self;
        let columns = (columns, operands);
        match out {
            Output::Rows(out) => {
                let Some(width) = out.first().map(|row| row.len()) else { return };
                let rows = row_block(out.len(), ROWS);
                for (i, out) in out.chunks_mut(rows).enumerate() {
                    let (x, rows) = (x.after(i * rows), out.len());
                    block::<S, _, _, ROWS, VECTORS>(simd, x, rows, columns, width, &mut RowMajor(Listed(out)), scratch);
                }
            }
            Output::Strided { values, stride, columns: width } => {
                let rows = row_block(values.len().div_ceil(*stride), ROWS);
                for (i, values) in values.chunks_mut(rows * *stride).enumerate() {
                    let (x, rows) = (x.after(i * rows), values.len().div_ceil(*stride));
                    let mut out = RowMajor(Strided { values, stride: *stride });
                    block::<S, _, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut out, scratch);
                }
            }
            Output::Tiles { lines, columns: width, factors } => {
                let tiles = row_block(lines.len() * ROWS, ROWS) / ROWS;
                for (i, lines) in lines.chunks_mut(tiles).enumerate() {
                    let (x, rows) = (x.after(i * tiles * ROWS), lines.len() * ROWS);
                    match factors {
                        Factors::F32 => {
                            block::<S, _, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut Tiled(lines), scratch)
                        }
                        _ => {
                            let mut out = TiledBf16(lines);
                            block::<S, _, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut out, scratch);
                        }
                    }
                }
            }
        }
    }
}

/// Computes the product of as many rows as the cache holds.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn block<S: Simd, O: Operands, D: Destination, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    x: LeftOperand<'_>,
    rows: usize,
    (columns, operands): (Columns<'_>, O),
    width: usize,
    out: &mut D,
    scratch: &mut GemmScratch,
) {
    let tiles = rows.div_ceil(ROWS);
    let Columns { weight, first_panel, epilogue } = columns;
    let panel_columns = VECTORS * S::F32_LANES;
    let (all_words, inner_block) = (weight.factors().words(weight.inputs()), weight.inner_block());
    let GemmScratch { left, left_scales, widened, rounded } = scratch;
    for (i, first) in (0..all_words).step_by(inner_block).enumerate() {
        let words = inner_block.min(all_words - first);
        let (left, scales, tile_size, tile_scales, start) = match x {
            LeftOperand::Rows(x) => {
                let (left, scales) =
                    operands.pack_left::<S, ROWS>(simd, x, rows, (first, words), weight.inputs(), left, left_scales);
                (left, scales, ROWS * words, 2 * ROWS, (0, 0))
            }
            LeftOperand::Packed(x) => {
                let start = (first * ROWS, 2 * i * ROWS);
                (x.tiles(tiles), x.scales(tiles), x.tile_size(), x.tile_scales(), start)
            }
        };
        for (panel, column) in (first_panel..).zip((0..width).step_by(panel_columns)) {
            let part = weight.panel(panel, first, words);
            let right = operands.right::<S, VECTORS>(simd, part, words, widened, rounded);
            let right = Right { words: right, scales: weight.scales(panel), sums: weight.sums(panel, i) };
            let next = match column + panel_columns < width {
                true => weight.panel_bytes(panel + 1, first, words),
                false => weight.panel_bytes(first_panel, first + words, inner_block.min(all_words - first - words)),
            };
            let mut ahead = prefetch_parts(next, tiles);
            let store = PanelStore {
                columns: (column, width.min(column + panel_columns)),
                bias: (first == 0).then(|| weight.bias(panel)),
                accumulate: first > 0 || epilogue.accumulate,
                activation: epilogue.activation.filter(|_| first + words == all_words),
                accuracy: Accuracy::of(weight.factors()),
            };
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            for tile in 0..tiles {
                let ahead = ahead.next().unwrap_or_default();
                let left = Left {
                    words: &left[tile * tile_size + start.0..][..ROWS * words],
                    scales: scales.get(tile * tile_scales + start.1..).unwrap_or_default(),
                };
                operands.multiply::<S, ROWS, VECTORS>(simd, left, right, ahead, &mut sums);
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
