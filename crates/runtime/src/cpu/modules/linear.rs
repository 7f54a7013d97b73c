//! Linear maps: products with one packed weight, split among the threads.

use bumpalo::collections::Vec as BumpVec;
use candle_core::{Result, Tensor};
use mert_arch::Activation;
use mert_simd::{Isa, TileShape};

use super::super::kernels::gemm::{self, Columns, Product};
use super::super::kernels::left_operand::LeftOperand;
use super::super::kernels::output::{Epilogue, Output};
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
    pub(crate) fn new(isa: Isa, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Linear { weight: PackedWeight::pack(isa.tile(TileShape::Wide), weight, Some(bias))? })
    }

    /// Packs a quantized `weight` as it is, and `bias` `(outputs,)`.
    pub(crate) fn quantized(isa: Isa, weight: &QuantizedWeight<'_>, bias: &Tensor) -> Result<Self> {
        Ok(Linear { weight: PackedWeight::pack_quantized(isa.tile(TileShape::Wide), weight, bias)? })
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
        run(executor.isa, tasks.into_bump_slice_mut());
    }

    /// Maps `x` to `out`, which is resized to the result, on all threads.
    pub(crate) fn forward_packed(
        &self,
        executor: &mut Executor<'_>,
        x: PackedRows<'_>,
        out: &mut PackedActivations,
        activation: Activation,
    ) {
        out.resize(executor.isa.tile(TileShape::Wide), x.rows(), self.outputs());
        let (row_block, column_block) = self.task_size(x);
        // Whole lines: panels are.
        let (tiles, lines) = (row_block / x.tile_rows(), column_block * x.tile_rows());
        let epilogue = Epilogue { accumulate: false, activation: Some(activation) };
        let arena = executor.task_arena.clear();
        let mut tasks = BumpVec::new_in(arena);
        let tile_size = out.tile_size();
        for (i, band) in out.tiles_mut().chunks_mut(tiles * tile_size).enumerate() {
            for (j, lines) in split_columns(arena, band.chunks_mut(tile_size), lines).enumerate() {
                let columns = column_block.min(self.outputs() - j * column_block);
                tasks.push(self.task(x, i * row_block, j * column_block, Output::Tiles { lines, columns }, epilogue));
            }
        }
        run(executor.isa, tasks.into_bump_slice_mut());
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

fn run(isa: Isa, tasks: &mut [Product<'_>]) {
    for_each_with_scratch(tasks, |task, scratch| task.run(isa, &mut scratch.gemm));
}
