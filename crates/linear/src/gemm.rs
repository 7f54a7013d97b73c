//! Products with many rows of activations: tiles of the weight are decoded into panels that stay in the cache, and each
//! is multiplied with all rows before the next.

use std::cell::RefCell;

use mert_simd::{Buffer, Kernel, LINE, Tile, left_groups, multiply, pack_rows};
use pulp::Simd;
use rayon::prelude::*;

use crate::linear::Linear;
use crate::panel::{Decoder, Panel};

/// Inner steps of a panel: a multiple of every group size, and so few that the panel and the activations of some
/// hundred rows fit a second-level cache.
const INNER_BLOCK: usize = 512;

/// Panels of a task at most: each task reads all activations once for each inner block.
const TASK_PANELS: usize = 12;

thread_local! {
    /// Activations of earlier products that this thread started, and panels that it decoded.
    static ACTIVATIONS: RefCell<Buffer> = RefCell::new(Buffer::default());
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::default());
}

/// Computes, or with `add` adds to, y `(rows, outputs)` = x `(rows, inputs)` · weightᵀ + bias.
pub(crate) fn forward(linear: &Linear, x: &[f32], y: &mut [f32], add: bool) {
    let (outputs, inputs) = (linear.outputs(), linear.inputs());
    let tile = linear.isa().tile_for(outputs);
    let rows = x.len() / inputs;
    let padded = inputs.next_multiple_of(LINE);
    // Taken out, so that the products of other tasks that this thread runs meanwhile have another.
    let mut buffer = ACTIVATIONS.take();
    let packed = buffer.take(rows.div_ceil(tile.rows) * tile.rows * padded);
    let tiles = packed.par_chunks_exact_mut(tile.rows * padded).zip(x.par_chunks(tile.rows * inputs));
    tiles.for_each(|(packed, x)| pack_rows(packed, x, inputs));

    let columns = task_panels(outputs.div_ceil(tile.columns)) * tile.columns;
    let mut lines: Vec<_> = y.chunks_exact_mut(outputs).map(|row| row.chunks_mut(columns)).collect();
    let tasks: Vec<(usize, Vec<&mut [f32]>)> = (0..outputs)
        .step_by(columns)
        .map(|first| (first, lines.iter_mut().filter_map(Iterator::next).collect()))
        .collect();
    let packed = &*packed;
    tasks.into_par_iter().for_each(|(first, lines)| {
        let mut decoder = DECODER.take();
        linear.isa().run(tile.shape, Product { linear, packed, tile, first, lines, add, decoder: &mut decoder });
        DECODER.set(decoder);
    });
    ACTIVATIONS.set(buffer);
}

/// The panels of a task: in so many tasks of equal size that two to some dozen threads are busy to the end.
fn task_panels(panels: usize) -> usize {
    let tasks = panels.div_ceil(TASK_PANELS).max(8).next_multiple_of(8);
    panels.div_ceil(tasks).max(1)
}

/// The outputs of one task.
struct Product<'a, 'b> {
    linear: &'a Linear,
    /// All rows of activations in tiles of the left operand.
    packed: &'a [f32],
    tile: Tile,
    /// The first output.
    first: usize,
    /// The outputs, a slice for each row of activations.
    lines: Vec<&'b mut [f32]>,
    add: bool,
    decoder: &'a mut Decoder,
}

impl Kernel for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Product { linear, packed, tile, first, mut lines, add, decoder } = self;
        let width = lines.first().map_or(0, |line| line.len());
        let inputs = linear.inputs();
        let padded = inputs.next_multiple_of(LINE);
        for step in (0..padded).step_by(INNER_BLOCK) {
            let steps = INNER_BLOCK.min(padded - step);
            for column in (0..width).step_by(tile.columns) {
                let columns = tile.columns.min(width - column);
                let panel = Panel { first: first + column, columns, step, steps: steps.min(inputs - step) };
                let right = decoder.decode::<S, VECTORS>(simd, linear, panel, steps);
                let bias = linear.bias().get(first + column..).unwrap_or_default();
                let store = Store { column, columns, bias: if step == 0 { bias } else { &[] }, add: add || step > 0 };
                for (left, lines) in packed.chunks_exact(ROWS * padded).zip(lines.chunks_mut(ROWS)) {
                    let left = left_groups(&left[step * ROWS..][..steps * ROWS]);
                    let sums = multiply::<S, ROWS, VECTORS>(simd, left, right, &[]);
                    store.write::<S, ROWS, VECTORS>(simd, &sums, lines);
                }
            }
        }
    }
}

/// The place of a tile's result in its lines.
#[derive(Clone, Copy)]
struct Store<'a> {
    column: usize,
    columns: usize,
    bias: &'a [f32],
    add: bool,
}

impl Store<'_> {
    #[inline(always)]
    fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        sums: &[[S::f32s; VECTORS]; ROWS],
        lines: &mut [&mut [f32]],
    ) {
        for (line, sums) in lines.iter_mut().zip(sums) {
            let Some(out) = line.get_mut(self.column..self.column + self.columns) else { continue };
            for (vector, &sum) in sums.iter().enumerate() {
                let Some((_, out)) = out.split_at_mut_checked(vector * S::F32_LANES) else { break };
                let bias = self.bias.get(vector * S::F32_LANES..).unwrap_or_default();
                let mut sum = sum;
                if !bias.is_empty() {
                    sum = simd.add_f32s(sum, crate::vector::load_floats::<S>(bias));
                }
                match out.len() >= S::F32_LANES {
                    true => {
                        let (out, _) = S::as_mut_simd_f32s(out);
                        out[0] = if self.add { simd.add_f32s(out[0], sum) } else { sum };
                    }
                    false => {
                        let sum = if self.add { simd.add_f32s(simd.partial_load_f32s(out), sum) } else { sum };
                        simd.partial_store_f32s(out, sum);
                    }
                }
            }
        }
    }
}
