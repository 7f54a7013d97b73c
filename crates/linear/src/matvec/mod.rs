//! Products with few rows of activations: one pass over the weight, decoded in registers.
//!
//! Each output is computed by one thread in an order that depends on the instruction set alone, so that results are the
//! same for any number of threads, any cut of the weight into tasks, and any number of rows.

mod affine;
mod affine_units;
mod codes;
mod float;
mod store;

use mert_arch::{Dtype, Encoding};
use mert_simd::Kernel;
use pulp::Simd;
use rayon::prelude::*;

use self::codes::{Bf16, F16, F32, Packed};
pub(crate) use self::float::Row;
use self::store::Store;
use crate::linear::Linear;
use crate::prepared::{Order, Pair, Prepared};

/// Bytes of a weight in a task: they take 10 µs or so to read, long against the start of a task.
const TASK_BYTES: usize = 96 << 10;

/// Rows of a task are a multiple of this, so that only the last task has tiles that are not full.
const ROW_MULTIPLE: usize = 8;

/// Output rows of one task for one weight.
struct Task<'a> {
    part: usize,
    first: usize,
    /// For each row of activations, the values of these outputs.
    outs: Vec<&'a mut [f32]>,
}

/// Computes, or with `add` adds to, the products of `x` with each weight. All have the same inputs and instruction set.
pub(crate) fn forward_all(parts: &[&Linear], x: &[f32], outs: &mut [&mut [f32]], add: bool) {
    let Some(first) = parts.first() else { return };
    let (inputs, isa) = (first.inputs(), first.isa());
    let lanes = isa.lanes();
    let mut prepared: Vec<Prepared> = Vec::new();
    let indices: Vec<usize> = parts
        .iter()
        .map(|part| {
            let order = Order::of(part.encoding(), lanes);
            prepared.iter().position(|p| p.fits(order)).unwrap_or_else(|| {
                prepared.push(Prepared::new(order, x, inputs));
                prepared.len() - 1
            })
        })
        .collect();
    let mut tasks = Vec::new();
    for (part, (linear, out)) in parts.iter().zip(outs).enumerate() {
        let rows = task_rows(linear);
        let mut iters: Vec<_> = out.chunks_mut(linear.outputs()).map(|row| row.chunks_mut(rows)).collect();
        for first in (0..linear.outputs()).step_by(rows) {
            let outs = iters.iter_mut().filter_map(Iterator::next).collect();
            tasks.push(Task { part, first, outs });
        }
    }
    let run = |task: Task<'_>| {
        let linear = parts[task.part];
        linear.isa().run_dots(MatVec { linear, prepared: &prepared[indices[task.part]], task, add });
    };
    match tasks.len() {
        1 => tasks.into_iter().for_each(run),
        _ => tasks.into_par_iter().for_each(run),
    }
    prepared.into_iter().for_each(Prepared::recycle);
}

/// The output rows of a task.
fn task_rows(linear: &Linear) -> usize {
    (TASK_BYTES / linear.row_bytes().max(1)).next_multiple_of(ROW_MULTIPLE).max(ROW_MULTIPLE)
}

/// One task, compiled for each instruction set with the weight's rows that go through the registers together.
struct MatVec<'a> {
    linear: &'a Linear,
    prepared: &'a Prepared,
    task: Task<'a>,
    add: bool,
}

impl Kernel for MatVec<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let MatVec { linear, prepared, task: Task { first, mut outs, .. }, add } = self;
        let rows = outs.first().map_or(0, |out| out.len());
        let mut scratch = affine::Scratch::default();
        for tile in (0..rows).step_by(ROWS) {
            let tile_rows = ROWS.min(rows - tile);
            let mut pairs = outs.as_mut_slice();
            for pair in &prepared.pairs {
                let (own, rest) = std::mem::take(&mut pairs).split_at_mut(pair.rows);
                pairs = rest;
                let store = Store { outs: own, tile, bias: linear.bias(), first: first + tile, add };
                match (tile_rows == ROWS, pair.rows) {
                    (true, 2) => self::tile::<S, ROWS, 2>(simd, linear, first + tile, pair, &mut scratch, store),
                    (true, _) => self::tile::<S, ROWS, 1>(simd, linear, first + tile, pair, &mut scratch, store),
                    (false, _) => rest_of_rows::<S>(simd, linear, first + tile, tile_rows, pair, &mut scratch, store),
                }
            }
        }
    }
}

/// The last rows of a weight, which do not fill a tile, one by one.
#[inline(always)]
fn rest_of_rows<S: Simd>(
    simd: S,
    linear: &Linear,
    first: usize,
    rows: usize,
    pair: &Pair,
    scratch: &mut affine::Scratch,
    store: Store<'_, '_>,
) {
    let Store { outs, tile, bias, first: output, add } = store;
    for row in 0..rows {
        let store = Store { outs: &mut *outs, tile: tile + row, bias, first: output + row, add };
        match pair.rows {
            2 => self::tile::<S, 1, 2>(simd, linear, first + row, pair, scratch, store),
            _ => self::tile::<S, 1, 1>(simd, linear, first + row, pair, scratch, store),
        }
    }
}

/// `R` rows of the weight with `M` rows of activations.
#[inline(always)]
fn tile<S: Simd, const R: usize, const M: usize>(
    simd: S,
    linear: &Linear,
    row: usize,
    pair: &Pair,
    scratch: &mut affine::Scratch,
    store: Store<'_, '_>,
) {
    let rows = linear.rows::<R>(row);
    let sums = match linear.encoding() {
        Encoding::Float(Dtype::F32) => float::tile::<S, F32, R, M>(simd, &rows, pair),
        Encoding::Float(Dtype::F16) => float::tile::<S, F16, R, M>(simd, &rows, pair),
        Encoding::Float(Dtype::Bf16) => float::tile::<S, Bf16, R, M>(simd, &rows, pair),
        Encoding::Quantized { quantization, .. } => {
            let groups = scratch.widen(linear, row, R);
            let size = quantization.group_size;
            match quantization.bits {
                2 => affine::tile::<S, Packed<2>, R, M>(simd, &rows, groups, size, pair),
                4 => affine::tile::<S, Packed<4>, R, M>(simd, &rows, groups, size, pair),
                8 => affine::tile::<S, Packed<8>, R, M>(simd, &rows, groups, size, pair),
                3 => affine_units::tile::<S, 3, R, M>(simd, &rows, groups, size, pair),
                5 => affine_units::tile::<S, 5, R, M>(simd, &rows, groups, size, pair),
                _ => affine_units::tile::<S, 6, R, M>(simd, &rows, groups, size, pair),
            }
        }
    };
    store.write(simd, &sums);
}
