use candle_core::{DType, Result, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::{Buffer, LINE};
use super::isa::{Isa, Shape};

/// A weight matrix and its bias, packed once for [`super::gemm`].
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
    /// Packs `weight` `(outputs, inputs)`, in any of the three float types, and `bias` `(outputs,)`.
    pub(crate) fn pack(isa: Isa, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let shape = if outputs % isa.tile(Shape::Wide).1 == 0 { Shape::Wide } else { Shape::Square };
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

    pub(crate) fn panel_columns(&self) -> usize {
        self.panel_columns
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
