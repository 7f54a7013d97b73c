//! Matrix products with packed weights: `out = activation(x · weightᵀ + bias)`.
//!
//! The loops are those of Goto and van de Geijn (2008, doi:10.1145/1356052.1356053), with the weights
//! in the place of the operand that is packed ahead of time: a block of packed rows of `x` stays in the
//! second-level cache, the panels of the weight pass over it one by one.

// Only constant indices keep the sums of a tile in registers.
#![allow(clippy::needless_range_loop)]

use mert_arch::Activation;
use pulp::Simd;

use super::buffer::{Buffer, LINE};
use super::isa::{Isa, Kernel};
use super::linear::Linear;
use super::math;
use super::microkernel::{left_groups, multiply};
use super::packed::PackedRows;

/// Rows of `x` to a block. With `INNER_BLOCK` steps they take 740 kB, less than half of a
/// second-level cache of 2 MB, and a panel of weights, which comes from farther away, is used 30 times.
const ROW_BLOCK: usize = 240;

/// Inner steps that are summed in registers before the result is written.
const INNER_BLOCK: usize = 768;

/// A left operand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Has to be packed on the way.
    Rows(Rows<'a>),
    /// Is packed.
    Packed(PackedRows<'a>),
}

/// Row `i` is `values[i · row_stride..][..the inner dimension]`. Rows may overlap, which makes a product
/// of a convolution over frames that lie one after the other in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    values: &'a [f32],
    row_stride: usize,
    less: Option<Less<'a>>,
}

/// Is subtracted from some inner steps of rows, whole lines of them.
#[derive(Debug, Clone, Copy)]
struct Less<'a> {
    values: &'a [f32],
    start: usize,
    end: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(values: &'a [f32], row_stride: usize) -> Self {
        Rows { values, row_stride, less: None }
    }

    /// Row `i` less `values[i · row_stride..]` in the inner steps `steps`, which are whole lines.
    pub(crate) fn less(self, values: &'a [f32], steps: std::ops::Range<usize>) -> Self {
        Rows { less: Some(Less { values, start: steps.start, end: steps.end }), ..self }
    }

    /// From row `row` on.
    pub(crate) fn after(self, row: usize) -> Self {
        let start = row * self.row_stride;
        let less = self.less.map(|less| Less { values: &less.values[start..], ..less });
        Rows { values: &self.values[start..], less, ..self }
    }
}

/// Where a result goes.
#[derive(Debug)]
pub(crate) enum Out<'a> {
    /// The rows, or a part of their columns.
    Rows(&'a mut [&'a mut [f32]]),
    /// Rows of `columns` that start every `stride` values: as many as start there.
    Strided { values: &'a mut [f32], stride: usize, columns: usize },
    /// Of each tile of packed activations, the lines of the columns.
    Tiles { lines: &'a mut [&'a mut [f32]], columns: usize },
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

impl GemmScratch {
    pub(crate) fn buffers(&mut self) -> [&mut Buffer; 2] {
        [&mut self.left, &mut self.widened]
    }
}

/// Rows in equal whole tiles, about `ROW_BLOCK`.
pub(crate) fn row_block(rows: usize, tile_rows: usize) -> usize {
    let blocks = ((rows + ROW_BLOCK / 2) / ROW_BLOCK).max(1);
    rows.div_ceil(blocks).next_multiple_of(tile_rows).max(tile_rows)
}

/// A product on one thread.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    pub(crate) x: Left<'a>,
    pub(crate) columns: Columns<'a>,
    pub(crate) out: Out<'a>,
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
    pub(crate) fn run(&mut self, isa: Isa, scratch: &mut GemmScratch) {
        let Product { x, columns, out } = self;
        isa.run(columns.weight.shape(), Blocked { x: *x, columns: *columns, out, scratch });
    }
}

struct Blocked<'a, 'b> {
    x: Left<'a>,
    columns: Columns<'a>,
    out: &'b mut Out<'a>,
    scratch: &'b mut GemmScratch,
}

impl Kernel for Blocked<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Blocked { x, columns, out, scratch } = self;
        match out {
            Out::Rows(out) => {
                let Some(width) = out.first().map(|row| row.len()) else { return };
                let rows = row_block(out.len(), ROWS);
                for (i, out) in out.chunks_mut(rows).enumerate() {
                    let (x, rows) = (after(x, i * rows), out.len());
                    block::<S, _, ROWS, VECTORS>(simd, x, rows, columns, width, &mut RowMajor(Listed(out)), scratch);
                }
            }
            Out::Strided { values, stride, columns: width } => {
                let rows = row_block(values.len().div_ceil(*stride), ROWS);
                for (i, values) in values.chunks_mut(rows * *stride).enumerate() {
                    let (x, rows) = (after(x, i * rows), values.len().div_ceil(*stride));
                    let mut out = RowMajor(Strided { values, stride: *stride });
                    block::<S, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut out, scratch);
                }
            }
            Out::Tiles { lines, columns: width } => {
                let tiles = row_block(lines.len() * ROWS, ROWS) / ROWS;
                for (i, lines) in lines.chunks_mut(tiles).enumerate() {
                    let (x, rows) = (after(x, i * tiles * ROWS), lines.len() * ROWS);
                    block::<S, _, ROWS, VECTORS>(simd, x, rows, columns, *width, &mut Tiled(lines), scratch);
                }
            }
        }
    }
}

/// The operand from row `row`, the first of a tile, on.
#[inline(always)]
fn after(x: Left<'_>, row: usize) -> Left<'_> {
    match x {
        Left::Rows(x) => Left::Rows(x.after(row)),
        Left::Packed(x) => Left::Packed(x.after(row)),
    }
}

/// The product of so many rows that the cache holds them.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn block<S: Simd, D: Destination, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    x: Left<'_>,
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
    let inner_block = padded.div_ceil(padded.div_ceil(INNER_BLOCK).max(1)).next_multiple_of(LINE);
    for first in (0..padded).step_by(inner_block) {
        let steps = inner_block.min(padded - first);
        let (left, tile_size, start) = match x {
            Left::Rows(x) => (pack_left::<ROWS>(x, rows, first, steps, inputs, &mut scratch.left), ROWS * steps, 0),
            Left::Packed(x) => (x.tiles(tiles), x.tile_size(), first * ROWS),
        };
        for (panel, column) in (first_panel..).zip((0..width).step_by(panel_columns)) {
            let right = weight.panel(panel, first, steps, &mut scratch.widened);
            let next = match column + panel_columns < width {
                true => weight.panel_bytes(panel + 1, first, steps),
                false => weight.panel_bytes(first_panel, first + steps, inner_block.min(padded - first - steps)),
            };
            let mut ahead = ahead(next, tiles);
            let part = Part {
                columns: (column, width.min(column + panel_columns)),
                bias: (first == 0).then(|| weight.bias(panel)),
                add: first > 0 || epilogue.accumulate,
                activation: epilogue.activation.filter(|_| first + steps == padded),
            };
            for tile in 0..tiles {
                let ahead = ahead.next().unwrap_or_default();
                let left = left_groups(&left[tile * tile_size + start..][..ROWS * steps]);
                let sums = multiply::<S, ROWS, VECTORS>(simd, left, right, ahead);
                out.store::<S, ROWS, VECTORS>(simd, &part, &sums, tile);
            }
        }
    }
}

/// The next panel in as many parts as there are tiles to fetch it during.
#[inline(always)]
fn ahead(panel: &[u8], tiles: usize) -> std::slice::Chunks<'_, u8> {
    panel.chunks(panel.len().div_ceil(tiles).next_multiple_of(size_of::<f32>() * LINE).max(1))
}

/// Which columns of a tile are stored, and how.
struct Part<'a> {
    /// The first and the one after the last.
    columns: (usize, usize),
    bias: Option<&'a [f32]>,
    add: bool,
    activation: Option<Activation>,
}

/// The order of a result.
trait Destination {
    /// Stores tile `tile`. The sums are indexed with constants only, which keeps them in registers.
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        part: &Part<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    );
}

/// Rows, wherever they lie.
trait RowsMut {
    /// The columns `start..end` of row `index`, if there is such a row.
    fn row(&mut self, index: usize, start: usize, end: usize) -> Option<&mut [f32]>;
}

struct Listed<'a, 'b>(&'a mut [&'b mut [f32]]);

impl RowsMut for Listed<'_, '_> {
    #[inline(always)]
    fn row(&mut self, index: usize, start: usize, end: usize) -> Option<&mut [f32]> {
        self.0.get_mut(index).map(|row| &mut row[start..end])
    }
}

/// As [`Out::Strided`] has it.
struct Strided<'a> {
    values: &'a mut [f32],
    stride: usize,
}

impl RowsMut for Strided<'_> {
    #[inline(always)]
    fn row(&mut self, index: usize, start: usize, end: usize) -> Option<&mut [f32]> {
        let row = index * self.stride;
        self.values.get_mut(row + start..row + end)
    }
}

struct RowMajor<R>(R);

impl<R: RowsMut> Destination for RowMajor<R> {
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        part: &Part<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    ) {
        let (start, end) = part.columns;
        let whole = end - start == VECTORS * S::F32_LANES;
        for row in 0..ROWS {
            let Some(out) = self.0.row(tile * ROWS + row, start, end) else { break };
            if whole {
                part.store_row(simd, &sums[row], out);
            } else {
                let mut padded = [0.0; MAX_COLUMNS];
                padded[..out.len()].copy_from_slice(out);
                part.store_row(simd, &sums[row], &mut padded[..VECTORS * S::F32_LANES]);
                out.copy_from_slice(&padded[..out.len()]);
            }
        }
        if let Some(activation) = part.activation {
            for row in 0..ROWS {
                let Some(out) = self.0.row(tile * ROWS + row, start, end) else { break };
                math::activate(simd, activation, out);
            }
        }
    }
}

/// Tiles, `[line of columns][row][column]`.
struct Tiled<'a, 'b>(&'a mut [&'b mut [f32]]);

impl Destination for Tiled<'_, '_> {
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        part: &Part<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    ) {
        let out = &mut *self.0[tile];
        let (start, end) = part.columns;
        let lines = start / LINE * ROWS * LINE..end.div_ceil(LINE) * ROWS * LINE;
        let (vectors, _) = S::as_mut_simd_f32s(&mut out[lines.clone()]);
        let vectors_in_line = LINE / S::F32_LANES;
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                let at = (vector / vectors_in_line * ROWS + row) * vectors_in_line + vector % vectors_in_line;
                // Columns that only fill up the panel are not there.
                if let Some(out) = vectors.get_mut(at) {
                    *out = part.value(simd, sums[row][vector], vector, *out);
                }
            }
        }
        if let Some(activation) = part.activation {
            math::activate(simd, activation, &mut out[lines]);
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn store_row<S: Simd, const VECTORS: usize>(&self, simd: S, sums: &[S::f32s; VECTORS], out: &mut [f32]) {
        let (out, _) = S::as_mut_simd_f32s(out);
        for vector in 0..VECTORS {
            out[vector] = self.value(simd, sums[vector], vector, out[vector]);
        }
    }

    /// What vector `vector` of a row becomes.
    #[inline(always)]
    fn value<S: Simd>(&self, simd: S, sum: S::f32s, vector: usize, before: S::f32s) -> S::f32s {
        let mut value = sum;
        if let Some(bias) = self.bias {
            value = simd.add_f32s(value, S::as_simd_f32s(bias).0[vector]);
        }
        if self.add {
            value = simd.add_f32s(value, before);
        }
        value
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
                let step = first + i * LINE;
                if let Some(less) = x.less
                    && (less.start..less.end).contains(&step)
                    && let Some(less) = less.values[index * x.row_stride + step..].first_chunk::<LINE>()
                {
                    for i in 0..LINE {
                        group[i] -= less[i];
                    }
                }
            }
        }
    }
    packed
}
