//! Matrix products with packed weights: `out = activation(x · weightᵀ + bias)`.
//!
//! The loops are those of Goto and van de Geijn (2008, doi:10.1145/1356052.1356053), with the weights
//! in the place of the operand that is packed ahead of time: a block of rows of `x` is packed to stay in
//! the second-level cache, the panels of the weight pass over it one by one.

use mert_spec::Activation;
use pulp::Simd;
use rayon::prelude::*;

use super::buffer::{Buffer, LINE};
use super::isa::{Isa, Kernel};
use super::linear::Linear;
use super::microkernel::{left_tile, multiply};
use super::{math, scratch};

/// Rows of `x` that are packed at a time. With `INNER_BLOCK` steps they take 740 kB, less than half of a
/// second-level cache of 2 MB, and a panel of weights, which comes from farther away, is used 30 times.
const ROW_BLOCK: usize = 240;

/// Inner steps that are summed in registers before the result is written.
const INNER_BLOCK: usize = 768;

/// The left operand: row `i` is `values[i · row_stride..][..the inner dimension]`. Rows may overlap,
/// which makes a product of a convolution over frames that lie one after the other in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row_stride: usize,
}

/// What becomes of each element of the product.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epilogue {
    /// Add to what the result holds, instead of replacing it.
    pub(crate) accumulate: bool,
    /// Applied last.
    pub(crate) activation: Option<Activation>,
}

/// Reused by the products that run on one thread.
#[derive(Debug, Default)]
pub(crate) struct GemmScratch {
    left: Buffer,
    widened: Buffer,
}

/// `out` `(rows, outputs)` from `x`, on all threads.
pub(crate) fn linear(isa: Isa, x: Rows<'_>, weight: &Linear, out: &mut [f32], epilogue: Epilogue) {
    let outputs = weight.outputs();
    let rows = out.len() / outputs;
    let (row_block, column_block) = blocks(isa, rows, weight);
    let column_blocks = outputs.div_ceil(column_block);
    let mut tasks = Vec::with_capacity(rows.div_ceil(row_block) * column_blocks);
    for (i, band) in out.chunks_mut(row_block * outputs).enumerate() {
        let x = Rows { values: &x.values[i * row_block * x.row_stride..], ..x };
        let mut parts: Vec<Vec<&mut [f32]>> = (0..column_blocks).map(|_| Vec::with_capacity(row_block)).collect();
        for row in band.chunks_mut(outputs) {
            for (part, columns) in parts.iter_mut().zip(row.chunks_mut(column_block)) {
                part.push(columns);
            }
        }
        for (j, out) in parts.into_iter().enumerate() {
            let columns = Columns { weight, first_panel: j * column_block / weight.panel_columns(), epilogue };
            tasks.push(Product { x, columns, out });
        }
    }
    tasks.into_par_iter().for_each(|task| scratch::with(|scratch| task.run(isa, &mut scratch.gemm)));
}

/// Rows and columns of the parts that the threads share out: all rows that the cache holds, and columns
/// so few that the last parts to finish are a small share of the whole.
fn blocks(isa: Isa, rows: usize, weight: &Linear) -> (usize, usize) {
    const PARTS_PER_THREAD: usize = 16;
    const FEWEST_PANELS: usize = 4;
    let (tile_rows, _) = isa.tile(weight.shape());
    let row_block = row_block(rows, tile_rows);
    let panels = weight.outputs().div_ceil(weight.panel_columns());
    let column_blocks = (PARTS_PER_THREAD * rayon::current_num_threads()).div_ceil(rows.div_ceil(row_block));
    let column_blocks = column_blocks.min(panels / FEWEST_PANELS).max(1);
    (row_block, panels.div_ceil(column_blocks) * weight.panel_columns())
}

/// Rows in equal whole tiles, about `ROW_BLOCK`.
fn row_block(rows: usize, tile_rows: usize) -> usize {
    let blocks = ((rows + ROW_BLOCK / 2) / ROW_BLOCK).max(1);
    rows.div_ceil(blocks).next_multiple_of(tile_rows).max(tile_rows)
}

/// A product on one thread.
pub(crate) struct Product<'a> {
    pub(crate) x: Rows<'a>,
    pub(crate) columns: Columns<'a>,
    /// The rows of the result, or of a part of its columns.
    pub(crate) out: Vec<&'a mut [f32]>,
}

/// Which columns of a result to compute, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) weight: &'a Linear,
    /// The panel of the weight that gives the first column of the result.
    pub(crate) first_panel: usize,
    pub(crate) epilogue: Epilogue,
}

impl Product<'_> {
    pub(crate) fn run(self, isa: Isa, scratch: &mut GemmScratch) {
        isa.run(self.columns.weight.shape(), Blocked { product: self, scratch });
    }
}

struct Blocked<'a, 'b> {
    product: Product<'a>,
    scratch: &'b mut GemmScratch,
}

impl Kernel for Blocked<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Product { x, columns, mut out } = self.product;
        let rows = row_block(out.len(), ROWS);
        for (i, out) in out.chunks_mut(rows).enumerate() {
            let x = Rows { values: &x.values[i * rows * x.row_stride..], ..x };
            block::<S, ROWS, VECTORS>(simd, x, columns, out, self.scratch);
        }
    }
}

/// The product of so many rows that the cache holds them.
#[inline(always)]
fn block<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    x: Rows<'_>,
    columns: Columns<'_>,
    out: &mut [&mut [f32]],
    scratch: &mut GemmScratch,
) {
    let Columns { weight, first_panel, epilogue } = columns;
    let Some(width) = out.first().map(|row| row.len()) else { return };
    let (inputs, panel_columns) = (weight.inputs(), VECTORS * S::F32_LANES);
    let padded = inputs.next_multiple_of(LINE);
    let inner_block = padded.div_ceil(padded.div_ceil(INNER_BLOCK).max(1)).next_multiple_of(LINE);
    for first in (0..padded).step_by(inner_block) {
        let steps = inner_block.min(padded - first);
        let left = pack_left::<ROWS>(x, out.len(), first, steps, inputs, &mut scratch.left);
        for (panel, column) in (first_panel..).zip((0..width).step_by(panel_columns)) {
            let right = weight.panel(panel, first, steps, &mut scratch.widened);
            let mut ahead = ahead(weight.panel_bytes(panel + 1, first, steps), out.len().div_ceil(ROWS));
            let part = Part {
                columns: (column, width.min(column + panel_columns)),
                bias: (first == 0).then(|| weight.bias(panel)),
                add: first > 0 || epilogue.accumulate,
                activation: epilogue.activation.filter(|_| first + steps == padded),
            };
            for (tile, rows) in out.chunks_mut(ROWS).enumerate() {
                let ahead = ahead.next().unwrap_or_default();
                let sums = multiply::<S, ROWS, VECTORS>(simd, left_tile(left, tile, steps), right, ahead);
                part.store::<S, ROWS, VECTORS>(simd, &sums, rows);
            }
        }
    }
}

/// The next panel in as many parts as there are tiles to fetch it during.
#[inline(always)]
fn ahead(panel: &[u8], tiles: usize) -> std::slice::Chunks<'_, u8> {
    panel.chunks(panel.len().div_ceil(tiles).next_multiple_of(size_of::<f32>() * LINE).max(1))
}

/// Where and how a tile is stored.
struct Part<'a> {
    /// The first and the one after the last.
    columns: (usize, usize),
    bias: Option<&'a [f32]>,
    add: bool,
    activation: Option<Activation>,
}

impl Part<'_> {
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        sums: &[[S::f32s; VECTORS]; ROWS],
        rows: &mut [&mut [f32]],
    ) {
        let (start, end) = self.columns;
        let whole = end - start == VECTORS * S::F32_LANES;
        // Only constant indices keep the sums in registers.
        for row in 0..ROWS {
            let Some(out) = rows.get_mut(row) else { break };
            let out = &mut out[start..end];
            if whole {
                self.store_row(simd, &sums[row], out);
            } else {
                let mut padded = [0.0; MAX_COLUMNS];
                padded[..out.len()].copy_from_slice(out);
                self.store_row(simd, &sums[row], &mut padded[..VECTORS * S::F32_LANES]);
                out.copy_from_slice(&padded[..out.len()]);
            }
        }
        if let Some(activation) = self.activation {
            for out in rows {
                math::activate(simd, activation, &mut out[start..end]);
            }
        }
    }

    #[inline(always)]
    fn store_row<S: Simd, const VECTORS: usize>(&self, simd: S, sums: &[S::f32s; VECTORS], out: &mut [f32]) {
        let (out, _) = S::as_mut_simd_f32s(out);
        let (bias, _) = S::as_simd_f32s(self.bias.unwrap_or(&[]));
        for vector in 0..VECTORS {
            let mut value = sums[vector];
            if let Some(&bias) = bias.get(vector) {
                value = simd.add_f32s(value, bias);
            }
            if self.add {
                value = simd.add_f32s(value, out[vector]);
            }
            out[vector] = value;
        }
    }
}

/// More than any tile has.
const MAX_COLUMNS: usize = 64;

/// Copies `steps` inner steps of `rows` rows, from step `first`, into tiles of groups; zeros after the
/// inner dimension `inputs` and below the last row.
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
            }
        }
    }
    packed
}
