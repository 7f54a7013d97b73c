//! Products with few rows of activations: one pass over the weight, decoded in registers.
//!
//! Each output is computed by one thread in an order that depends on the instruction set alone, so that results are the
//! same for any number of threads, any cut of the weight into tasks, and any number of rows.

mod affine;
mod affine_units;
mod codes;
#[cfg(target_arch = "aarch64")]
mod dotprod;
mod float;
mod row;
mod store;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::marker::PhantomData;

use mert_arch::{Dtype, Encoding};
use mert_simd::{Isa, Kernel};
use pulp::Simd;
use rayon::prelude::*;

use self::affine::{Affine, Scratch};
use self::affine_units::Units;
use self::codes::Packed;
pub(crate) use self::codes::{Bf16, Codes, F16, F32};
use self::float::Float;
use self::store::Store;
use crate::linear::{FEW_ROWS, Linear};
use crate::prepared::{Order, Pair, Prepared};

/// Bytes of a weight in a task: they take 10 µs or so to read, long against the start of a task.
const TASK_BYTES: usize = 96 << 10;

/// Rows of a task are a multiple of this, so that only the last task has tiles that are not full.
const ROW_MULTIPLE: usize = 8;

/// Output rows of one task for one weight.
struct Task<'a> {
    part: usize,
    first: usize,
    /// For each row of activations, the values of these outputs: an array, as a list on the heap for each task took 4 % of a
    /// step of a language model.
    outs: [&'a mut [f32]; FEW_ROWS],
    /// The number of rows of activations.
    rows: usize,
}

/// Computes, or with `add` adds to, the products of `x` with each weight. All have the same inputs and instruction set.
pub(crate) fn forward_all(parts: &[&Linear], x: &[f32], outs: &mut [&mut [f32]], add: bool) {
    let Some(first) = parts.first() else { return };
    let (inputs, isa) = (first.inputs(), first.isa());
    let mut prepared: Vec<Prepared> = Vec::new();
    let indices: Vec<usize> = parts
        .iter()
        .map(|part| {
            let order = Order::of(part);
            prepared.iter().position(|p| p.fits(order)).unwrap_or_else(|| {
                prepared.push(Prepared::new(isa, order, x, inputs));
                prepared.len() - 1
            })
        })
        .collect();
    let mut tasks = Vec::new();
    for (part, (linear, out)) in parts.iter().zip(outs).enumerate() {
        let rows = task_rows(linear);
        let mut iters: Vec<_> = out.chunks_mut(linear.outputs()).map(|row| row.chunks_mut(rows)).collect();
        for first in (0..linear.outputs()).step_by(rows) {
            let mut outs: [&mut [f32]; FEW_ROWS] = Default::default();
            let parts = iters.iter_mut().filter_map(Iterator::next);
            outs.iter_mut().zip(parts).for_each(|(out, part)| *out = part);
            tasks.push(Task { part, first, outs, rows: x.len() / inputs });
        }
    }
    let run_task = |task: Task<'_>| {
        run(isa, parts[task.part], &prepared[indices[task.part]], task, add);
    };
    match tasks.len() {
        1 => tasks.into_iter().for_each(run_task),
        // Each task can be taken by another thread: rayon would leave a quarter of them in one piece.
        _ => tasks.into_par_iter().with_max_len(1).for_each(run_task),
    }
    prepared.into_iter().for_each(Prepared::recycle);
}

/// The output rows of a task.
fn task_rows(linear: &Linear) -> usize {
    (TASK_BYTES / linear.row_bytes().max(1)).next_multiple_of(ROW_MULTIPLE).max(ROW_MULTIPLE)
}

/// Runs a task with the kernel for the weight's encoding: each is a function of its own, small enough for the compiler to
/// keep its sums in registers.
fn run(isa: Isa, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool) {
    #[cfg(target_arch = "x86_64")]
    if let (Encoding::Quantized { quantization, .. }, Isa::Avx512(simd), true) =
        (linear.encoding(), isa, prepared.has_digits())
    {
        return vnni::run(simd, quantization.bits, linear, prepared, task, add);
    }
    #[cfg(target_arch = "aarch64")]
    if let (Encoding::Quantized { quantization, .. }, Isa::Neon(simd), true) =
        (linear.encoding(), isa, prepared.has_digits())
    {
        return dotprod::run(simd, quantization.bits, linear, prepared, task, add);
    }
    match linear.encoding() {
        Encoding::Float(Dtype::F32) => run_format::<Float<F32>>(isa, linear, prepared, task, add),
        Encoding::Float(Dtype::F16) => run_format::<Float<F16>>(isa, linear, prepared, task, add),
        Encoding::Float(Dtype::Bf16) => run_format::<Float<Bf16>>(isa, linear, prepared, task, add),
        Encoding::Quantized { quantization, .. } => match quantization.bits {
            2 => run_affine::<Packed<2>>(isa, linear, prepared, task, add, quantization.group_size),
            4 => run_affine::<Packed<4>>(isa, linear, prepared, task, add, quantization.group_size),
            8 => run_affine::<Packed<8>>(isa, linear, prepared, task, add, quantization.group_size),
            3 => run_format::<Units<3>>(isa, linear, prepared, task, add),
            5 => run_format::<Units<5>>(isa, linear, prepared, task, add),
            _ => run_format::<Units<6>>(isa, linear, prepared, task, add),
        },
    }
}

fn run_affine<C: Codes>(isa: Isa, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool, group_size: usize) {
    match isa.lanes() * C::SLOTS / group_size {
        0 | 1 => run_format::<Affine<C, 1>>(isa, linear, prepared, task, add),
        2 => run_format::<Affine<C, 2>>(isa, linear, prepared, task, add),
        _ => run_format::<Affine<C, 0>>(isa, linear, prepared, task, add),
    }
}

fn run_format<F: Format>(isa: Isa, linear: &Linear, prepared: &Prepared, task: Task<'_>, add: bool) {
    isa.run_dots(MatVec::<F> { linear, prepared, task, add, format: PhantomData });
}

/// The decoding of one encoding.
trait Format {
    /// The sums of `R` rows of the weight, from `row` on, with `M` rows of activations, over the lanes yet to be added.
    fn tile<S: Simd, const R: usize, const M: usize>(
        simd: S,
        linear: &Linear,
        row: usize,
        pair: &Pair,
        scratch: &mut Scratch,
    ) -> [[S::f32s; M]; R];
}

/// One task, compiled for each instruction set with the weight's rows that go through the registers together.
struct MatVec<'a, F> {
    linear: &'a Linear,
    prepared: &'a Prepared,
    task: Task<'a>,
    add: bool,
    format: PhantomData<F>,
}

impl<F: Format> Kernel for MatVec<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let MatVec { linear, prepared, task: Task { first, mut outs, rows, .. }, add, .. } = self;
        let outs = &mut outs[..rows];
        let rows = outs.first().map_or(0, |out| out.len());
        let mut scratch = Scratch::default();
        let whole = rows - rows % ROWS;
        for tile in (0..whole).step_by(ROWS) {
            tile_rows::<S, F, ROWS>(simd, linear, prepared, outs, (first, tile), add, &mut scratch);
        }
        for tile in whole..rows {
            tile_rows::<S, F, 1>(simd, linear, prepared, outs, (first, tile), add, &mut scratch);
        }
    }
}

/// `R` rows of the weight with all rows of activations.
#[inline(always)]
fn tile_rows<S: Simd, F: Format, const R: usize>(
    simd: S,
    linear: &Linear,
    prepared: &Prepared,
    outs: &mut [&mut [f32]],
    (first, tile): (usize, usize),
    add: bool,
    scratch: &mut Scratch,
) {
    for (pair, outs) in prepared.pairs.iter().zip(outs.chunks_mut(crate::prepared::ROWS)) {
        let store = Store { outs, tile, bias: linear.bias(), first: first + tile, add };
        match pair.rows {
            2 => store.write(simd, &F::tile::<S, R, 2>(simd, linear, first + tile, pair, scratch)),
            _ => store.write(simd, &F::tile::<S, R, 1>(simd, linear, first + tile, pair, scratch)),
        }
    }
}
