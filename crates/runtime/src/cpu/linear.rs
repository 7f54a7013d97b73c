use bumpalo::collections::Vec as BumpVec;
use candle_core::{DType, Result, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mert_arch::Activation;
use rayon::prelude::*;

use super::buffer::{Buffer, LINE};
use super::gemm::{self, Columns, Epilogue, Left, Out, Product};
use super::isa::{Isa, Shape};
use super::lists::{self, Lists};
use super::packed::{Packed, PackedRows};
use super::scratch;

/// A weight matrix and its bias, packed once: `activation(x · weightᵀ + bias)`.
///
/// The weights keep the type that the file has them in; 16-bit ones are widened, exactly, each time
/// that a panel of them enters the cache: half the memory, and half the traffic from it.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[panel][inner step][column of the panel]`, padded with zeros to whole panels and lines.
    panels: Panels,
    /// Padded to whole panels.
    bias: Buffer,
    shape: Shape,
    /// Columns of a panel, as the tile of this shape has.
    panel_columns: usize,
    outputs: usize,
    inputs: usize,
}

#[derive(Debug)]
enum Panels {
    F32(Buffer),
    F16(Buffer<f16>),
    Bf16(Buffer<bf16>),
}

impl Linear {
    /// Packs `weight` `(outputs, inputs)`, in any of the three float types, and `bias` `(outputs,)`, for
    /// products of shape `shape`.
    pub(crate) fn pack(isa: Isa, shape: Shape, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let (_, panel_columns) = isa.tile(shape);
        let size = Size { outputs, inputs, panel_columns };
        let weight = weight.flatten_all()?;
        let panels = match weight.dtype() {
            DType::F16 => {
                let mut panels = Buffer::zeroed(size.packed());
                size.pack::<f16>(&weight.to_vec1()?, &mut panels);
                Panels::F16(panels)
            }
            DType::BF16 => {
                let mut panels = Buffer::zeroed(size.packed());
                size.pack::<bf16>(&weight.to_vec1()?, &mut panels);
                Panels::Bf16(panels)
            }
            _ => {
                let mut panels = Buffer::zeroed(size.packed());
                size.pack::<f32>(&weight.to_dtype(DType::F32)?.to_vec1()?, &mut panels);
                Panels::F32(panels)
            }
        };
        let mut padded_bias = Buffer::zeroed(outputs.next_multiple_of(panel_columns));
        if let Some(bias) = bias {
            padded_bias[..outputs].copy_from_slice(&bias.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        }
        Ok(Linear { panels, bias: padded_bias, shape, panel_columns, outputs, inputs })
    }

    /// A map of nothing to nothing, for [`Linear::refill`].
    pub(crate) fn empty() -> Self {
        let (panels, bias) = (Panels::F32(Buffer::default()), Buffer::default());
        Linear { panels, bias, shape: Shape::Square, panel_columns: 0, outputs: 0, inputs: 0 }
    }

    /// Becomes another map, in f32 and in the memory that it has: `rows` gives weights and bias of each output.
    pub(crate) fn refill<R: Iterator<Item = f32>>(
        &mut self,
        isa: Isa,
        (outputs, inputs): (usize, usize),
        rows: impl Iterator<Item = (R, f32)>,
    ) {
        self.shape = isa.shape_for(outputs);
        (self.outputs, self.inputs, self.panel_columns) = (outputs, inputs, isa.tile(self.shape).1);
        let size = Size { outputs, inputs, panel_columns: self.panel_columns };
        if !matches!(self.panels, Panels::F32(_)) {
            self.panels = Panels::F32(Buffer::default());
        }
        let Panels::F32(panels) = &mut self.panels else { return };
        let (panels, bias) = (panels.take(size.packed()), self.bias.take(outputs.next_multiple_of(self.panel_columns)));
        panels.fill(0.0);
        bias.fill(0.0);
        for (output, (row, b)) in rows.enumerate() {
            let panel = &mut panels[output / self.panel_columns * size.panel()..][..size.panel()];
            let column = panel[output % self.panel_columns..].iter_mut().step_by(self.panel_columns);
            column.zip(row).for_each(|(packed, value)| *packed = value);
            bias[output] = b;
        }
    }

    /// From `x` to `out` `(rows, outputs)`, on all threads.
    pub(crate) fn forward(&self, isa: Isa, x: PackedRows<'_>, out: &mut [f32], epilogue: Epilogue, lists: &mut Lists) {
        let (row_block, column_block) = self.parts(x);
        let bump = lists.clear();
        let mut tasks = BumpVec::new_in(bump);
        for (i, band) in out.chunks_mut(row_block * self.outputs).enumerate() {
            for (j, rows) in lists::columns(bump, band.chunks_mut(self.outputs), column_block).enumerate() {
                tasks.push(self.task(x, i * row_block, j * column_block, Out::Rows(rows), epilogue));
            }
        }
        run(isa, tasks.into_bump_slice_mut());
    }

    /// From `x` to `out`, which is made as large as the result, on all threads.
    pub(crate) fn forward_packed(
        &self,
        isa: Isa,
        x: PackedRows<'_>,
        out: &mut Packed,
        activation: Activation,
        lists: &mut Lists,
    ) {
        out.resize(isa, x.rows(), self.outputs);
        let (row_block, column_block) = self.parts(x);
        // Whole lines: panels are.
        let (tiles, lines) = (row_block / x.tile_rows(), column_block * x.tile_rows());
        let epilogue = Epilogue { accumulate: false, activation: Some(activation) };
        let bump = lists.clear();
        let mut tasks = BumpVec::new_in(bump);
        let tile_size = out.tile_size();
        for (i, band) in out.tiles_mut().chunks_mut(tiles * tile_size).enumerate() {
            for (j, lines) in lists::columns(bump, band.chunks_mut(tile_size), lines).enumerate() {
                let columns = column_block.min(self.outputs - j * column_block);
                tasks.push(self.task(x, i * row_block, j * column_block, Out::Tiles { lines, columns }, epilogue));
            }
        }
        run(isa, tasks.into_bump_slice_mut());
    }

    fn task<'a>(
        &'a self,
        x: PackedRows<'a>,
        row: usize,
        column: usize,
        out: Out<'a>,
        epilogue: Epilogue,
    ) -> Product<'a> {
        let first_panel = column / self.panel_columns;
        Product { x: Left::Packed(x.after(row)), columns: Columns { weight: self, first_panel, epilogue }, out }
    }

    /// Rows and columns of the parts that the threads share out: all rows that the cache holds, and
    /// columns so few that the last parts to finish are a small share of the whole.
    fn parts(&self, x: PackedRows<'_>) -> (usize, usize) {
        const PARTS_PER_THREAD: usize = 16;
        const FEWEST_PANELS: usize = 4;
        let row_block = gemm::row_block(x.rows(), x.tile_rows());
        let panels = self.outputs.div_ceil(self.panel_columns);
        let column_blocks = (PARTS_PER_THREAD * rayon::current_num_threads()).div_ceil(x.rows().div_ceil(row_block));
        let column_blocks = column_blocks.min(panels / FEWEST_PANELS).max(1);
        (row_block, panels.div_ceil(column_blocks) * self.panel_columns)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Columns of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The inner dimension.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The bias of the columns of `panel`.
    pub(crate) fn bias(&self, panel: usize) -> &[f32] {
        &self.bias[panel * self.panel_columns..][..self.panel_columns]
    }

    /// Inner steps `first..first + steps` of `panel` in f32, widened into `widened` if need be.
    pub(crate) fn panel<'a>(&'a self, panel: usize, first: usize, steps: usize, widened: &'a mut Buffer) -> &'a [f32] {
        let range = self.range(panel, first, steps);
        match &self.panels {
            Panels::F32(panels) => &panels[range],
            Panels::F16(panels) => {
                let widened = widened.take(range.len());
                panels[range].convert_to_f32_slice(widened);
                widened
            }
            Panels::Bf16(panels) => {
                let widened = widened.take(range.len());
                panels[range].convert_to_f32_slice(widened);
                widened
            }
        }
    }

    /// What [`Linear::panel`] will read; nothing after the last panel.
    pub(crate) fn panel_bytes(&self, panel: usize, first: usize, steps: usize) -> &[u8] {
        let range = self.range(panel, first, steps);
        match &self.panels {
            Panels::F32(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::F16(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::Bf16(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
        }
    }

    fn range(&self, panel: usize, first: usize, steps: usize) -> std::ops::Range<usize> {
        let start = (panel * self.inputs.next_multiple_of(LINE) + first) * self.panel_columns;
        start..start + steps * self.panel_columns
    }
}

fn run(isa: Isa, tasks: &mut [Product<'_>]) {
    scratch::for_each(tasks, |task, scratch| task.run(isa, &mut scratch.gemm));
}

struct Size {
    outputs: usize,
    inputs: usize,
    panel_columns: usize,
}

impl Size {
    fn panel(&self) -> usize {
        self.inputs.next_multiple_of(LINE) * self.panel_columns
    }

    fn packed(&self) -> usize {
        self.panel() * self.outputs.div_ceil(self.panel_columns)
    }

    fn pack<T: Copy + Send + Sync>(&self, weight: &[T], panels: &mut [T]) {
        panels.par_chunks_mut(self.panel()).enumerate().for_each(|(panel, packed)| {
            let rows = weight.chunks(self.inputs).skip(panel * self.panel_columns).take(self.panel_columns);
            for (column, row) in rows.enumerate() {
                for (packed, &value) in packed[column..].iter_mut().step_by(self.panel_columns).zip(row) {
                    *packed = value;
                }
            }
        });
    }
}
