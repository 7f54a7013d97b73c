//! Linear maps: products with one packed weight, split among the threads.

use bumpalo::collections::Vec as BumpVec;
use candle_core::{Result, Tensor};
use mert_arch::Activation;
use mert_simd::{Buffer, Factors, TileShape};

use super::super::arithmetic::Arithmetic;
use super::super::kernels::gemm::{self, Columns, Product};
use super::super::kernels::left_operand::LeftOperand;
use super::super::kernels::output::{Epilogue, Output};
use super::super::kernels::pack::pack_tile;
use super::super::memory::{PackedActivations, PackedRows, PackedWeight, for_each_with_scratch, split_columns};
use super::context::Executor;
use crate::quantized::QuantizedWeight;

/// `torch.nn.Linear` with an optional activation: `activation(x · weightᵀ + bias)`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: PackedWeight,
}

impl Linear {
    /// Packs `weight` `(outputs, inputs)` and `bias` `(outputs,)`.
    pub(crate) fn new(arithmetic: Arithmetic, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let tile = arithmetic.isa.tile(TileShape::Wide);
        Ok(Linear { weight: PackedWeight::pack(arithmetic, tile, weight, Some(bias))? })
    }

    /// Packs a quantized `weight` as it is, and `bias` `(outputs,)`.
    pub(crate) fn quantized(arithmetic: Arithmetic, weight: &QuantizedWeight<'_>, bias: &Tensor) -> Result<Self> {
        let tile = arithmetic.isa.tile(TileShape::Wide);
        Ok(Linear { weight: PackedWeight::pack_quantized(arithmetic, tile, weight, bias)? })
    }

    pub(crate) fn weight(&self) -> &PackedWeight {
        &self.weight
    }

    pub(crate) fn outputs(&self) -> usize {
        self.weight.outputs()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.inputs()
    }

    /// Maps `x` to `out` `(rows, outputs)`, on all threads.
    pub(crate) fn forward(&self, executor: &mut Executor<'_>, x: PackedRows<'_>, out: &mut [f32], epilogue: Epilogue) {
        self.forward_columns(executor, x, out, (self.outputs(), 0), epilogue);
    }

    /// Maps `x` to the columns of `out` `(rows, width)` from `first` on, on all threads.
    pub(crate) fn forward_columns(
        &self,
        executor: &mut Executor<'_>,
        x: PackedRows<'_>,
        out: &mut [f32],
        (width, first): (usize, usize),
        epilogue: Epilogue,
    ) {
        let (row_block, column_block) = self.task_size(x);
        let arena = executor.task_arena.clear();
        let mut tasks = BumpVec::new_in(arena);
        for (i, band) in out.chunks_mut(row_block * width).enumerate() {
            let rows = band.chunks_mut(width).map(|row| &mut row[first..][..self.outputs()]);
            for (j, rows) in split_columns(arena, rows, column_block).enumerate() {
                tasks.push(self.task(x, i * row_block, j * column_block, Output::Rows(rows), epilogue));
            }
        }
        run(executor.arithmetic, tasks.into_bump_slice_mut());
    }

    /// Maps `x` to `out`, which is resized to the result as the factors that `next` multiplies, on all threads. `rows` holds
    /// the result where it cannot be written so at once.
    pub(crate) fn forward_packed(
        &self,
        executor: &mut Executor<'_>,
        x: PackedRows<'_>,
        next: &Linear,
        (out, rows): (&mut PackedActivations, &mut Buffer),
        activation: Activation,
    ) {
        next.resize_input(executor.arithmetic, out, x.rows());
        let epilogue = Epilogue { accumulate: false, activation: Some(activation) };
        let factors = out.factors();
        let complete = self.weight.inner_block() >= self.weight.factors().words(self.inputs());
        if factors == Factors::Int8 || factors == Factors::Bf16 && !complete {
            let rows = rows.take(x.rows() * self.outputs());
            self.forward(executor, x, rows, epilogue);
            let (isa, width) = (executor.arithmetic.isa, self.outputs());
            out.fill_from(rows, |x, tile| pack_tile(isa, tile, x, width));
            return;
        }
        let (row_block, column_block) = self.task_size(x);
        // Whole lines of words, which no two tasks share.
        let column_block = column_block.next_multiple_of(lcm(self.weight.tile().columns, factors.in_line()));
        let (tiles, words) = (row_block / x.tile_rows(), column_block / factors.in_word() * x.tile_rows());
        let arena = executor.task_arena.clear();
        let mut tasks = BumpVec::new_in(arena);
        let tile_size = out.tile_size();
        for (i, band) in out.tiles_mut().chunks_mut(tiles * tile_size).enumerate() {
            for (j, lines) in split_columns(arena, band.chunks_mut(tile_size), words).enumerate() {
                let columns = column_block.min(self.outputs() - j * column_block);
                let out = Output::Tiles { lines, columns, factors };
                tasks.push(self.task(x, i * row_block, j * column_block, out, epilogue));
            }
        }
        run(executor.arithmetic, tasks.into_bump_slice_mut());
    }

    /// Makes room in `x` for `rows` rows of this map's input.
    pub(crate) fn resize_input(&self, arithmetic: Arithmetic, x: &mut PackedActivations, rows: usize) {
        let factors = (self.weight.factors(), arithmetic.int8.left_flip());
        x.resize(self.weight.tile(), factors, rows, self.inputs());
    }

    fn task<'a>(
        &'a self,
        x: PackedRows<'a>,
        row: usize,
        column: usize,
        out: Output<'a>,
        epilogue: Epilogue,
    ) -> Product<'a> {
        let first_panel = column / self.weight.tile().columns;
        let columns = Columns { weight: &self.weight, first_panel, epilogue };
        Product { x: LeftOperand::Packed(x.after(row)), columns, out }
    }

    /// Rows and columns of a task: all rows that the cache holds, and columns so few that the last tasks to finish are
    /// a small share of the whole.
    fn task_size(&self, x: PackedRows<'_>) -> (usize, usize) {
        const TASKS_PER_THREAD: usize = 16;
        const MIN_PANELS: usize = 4;
        let panel_columns = self.weight.tile().columns;
        let row_block = gemm::row_block(x.rows(), x.tile_rows());
        let panels = self.outputs().div_ceil(panel_columns);
        let column_blocks = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(x.rows().div_ceil(row_block));
        let column_blocks = column_blocks.min(panels / MIN_PANELS).max(1);
        (row_block, panels.div_ceil(column_blocks) * panel_columns)
    }
}

fn run(arithmetic: Arithmetic, tasks: &mut [Product<'_>]) {
    for_each_with_scratch(tasks, |task, scratch| task.run(arithmetic, &mut scratch.gemm));
}

/// The least common multiple.
fn lcm(a: usize, b: usize) -> usize {
    (1..=b).map(|i| a * i).find(|multiple| multiple.is_multiple_of(b)).unwrap_or(a * b)
}
