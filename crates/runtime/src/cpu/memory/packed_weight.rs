//! The right operand of a product: a weight matrix in panels, packed once when a model is loaded.

use candle_core::{DType, Result, Tensor};
use half::{bf16, f16};
use mert_simd::{Buffer, LINE, Tile, pack_columns, packed_columns};
use rayon::prelude::*;

use super::quantized_panels::{QuantizedPanel, QuantizedPanels};
use crate::quantized::QuantizedWeight;

/// A weight matrix `(outputs, inputs)` and its bias, for products `x · weightᵀ + bias`.
///
/// The weights keep the encoding of the file. 16-bit weights are widened, exactly, and quantized ones decoded, each time
/// that a panel of them enters the cache: half the memory or less, and as much less traffic from it.
#[derive(Debug, Default)]
pub(crate) struct PackedWeight {
    /// The weights as `[panel][inner step][column of the panel]`, padded with zeros to whole panels and lines.
    panels: Panels,
    /// The bias, padded with zeros to whole panels.
    bias: Buffer,
    tile: Tile,
    outputs: usize,
    inputs: usize,
}

#[derive(Debug)]
enum Panels {
    F32(Buffer),
    F16(Buffer<f16>),
    Bf16(Buffer<bf16>),
    Quantized(QuantizedPanels),
}

/// Some inner steps of a panel, as they are stored.
pub(crate) enum PanelPart<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    Quantized(QuantizedPanel<'a>),
}

impl Default for Panels {
    fn default() -> Self {
        Panels::F32(Buffer::default())
    }
}

impl PackedWeight {
    /// Packs `weight` `(outputs, inputs)`, in any of the three float types, and `bias` `(outputs,)` for products whose
    /// tiles have the size `tile`.
    pub(crate) fn pack(tile: Tile, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let size = Size { outputs, inputs, panel_columns: tile.columns };
        let weight = weight.flatten_all()?;
        let panels = match weight.dtype() {
            DType::F16 => Panels::F16(size.pack(&weight.to_vec1()?)),
            DType::BF16 => Panels::Bf16(size.pack(&weight.to_vec1()?)),
            _ => Panels::F32(size.pack(&weight.to_dtype(DType::F32)?.to_vec1()?)),
        };
        Ok(PackedWeight { panels, bias: padded_bias(tile, outputs, bias)?, tile, outputs, inputs })
    }

    /// Packs a quantized weight, which is not decoded, and `bias` `(outputs,)`.
    pub(crate) fn pack_quantized(tile: Tile, weight: &QuantizedWeight<'_>, bias: &Tensor) -> Result<Self> {
        let panels = Panels::Quantized(QuantizedPanels::pack(weight, tile.columns));
        let (outputs, inputs) = (weight.outputs, weight.inputs);
        Ok(PackedWeight { panels, bias: padded_bias(tile, outputs, Some(bias))?, tile, outputs, inputs })
    }

    /// Replaces the matrix by another in f32, in the same memory: `rows` yields the weights and the bias of each
    /// output.
    pub(crate) fn repack<R: Iterator<Item = f32>>(
        &mut self,
        tile: Tile,
        (outputs, inputs): (usize, usize),
        rows: impl Iterator<Item = (R, f32)>,
    ) {
        (self.tile, self.outputs, self.inputs) = (tile, outputs, inputs);
        let size = Size { outputs, inputs, panel_columns: tile.columns };
        if !matches!(self.panels, Panels::F32(_)) {
            self.panels = Panels::default();
        }
        let Panels::F32(panels) = &mut self.panels else { return };
        let (panels, bias) = (panels.take(size.packed()), self.bias.take(outputs.next_multiple_of(tile.columns)));
        panels.fill(0.0);
        bias.fill(0.0);
        for (output, (row, b)) in rows.enumerate() {
            let panel = &mut panels[output / tile.columns * size.panel()..][..size.panel()];
            let column = panel[output % tile.columns..].iter_mut().step_by(tile.columns);
            column.zip(row).for_each(|(packed, value)| *packed = value);
            bias[output] = b;
        }
    }

    pub(crate) fn tile(&self) -> Tile {
        self.tile
    }

    /// Number of columns of the result.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The inner dimension.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The bias of the columns of `panel`.
    pub(crate) fn bias(&self, panel: usize) -> &[f32] {
        &self.bias[panel * self.tile.columns..][..self.tile.columns]
    }

    /// The number of inner steps of which a part of a panel is a multiple.
    pub(crate) fn step_multiple(&self) -> usize {
        match &self.panels {
            Panels::Quantized(panels) => panels.group_size().next_multiple_of(LINE),
            _ => LINE,
        }
    }

    /// Inner steps `first..first + steps` of `panel`, both multiples of [`PackedWeight::step_multiple`].
    pub(crate) fn panel(&self, panel: usize, first: usize, steps: usize) -> PanelPart<'_> {
        let range = self.range(panel, first, steps);
        match &self.panels {
            Panels::F32(panels) => PanelPart::F32(&panels[range]),
            Panels::F16(panels) => PanelPart::F16(&panels[range]),
            Panels::Bf16(panels) => PanelPart::Bf16(&panels[range]),
            Panels::Quantized(panels) => PanelPart::Quantized(panels.panel(panel, first, steps)),
        }
    }

    /// The bytes of [`PackedWeight::panel`]; empty after the last panel.
    pub(crate) fn panel_bytes(&self, panel: usize, first: usize, steps: usize) -> &[u8] {
        let range = self.range(panel, first, steps);
        match &self.panels {
            Panels::F32(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::F16(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::Bf16(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::Quantized(panels) => panels.panel_bytes(panel, first, steps),
        }
    }

    fn range(&self, panel: usize, first: usize, steps: usize) -> std::ops::Range<usize> {
        let start = (panel * self.inputs.next_multiple_of(LINE) + first) * self.tile.columns;
        start..start + steps * self.tile.columns
    }
}

/// The bias `(outputs,)`, or zeros, filled up to whole panels.
fn padded_bias(tile: Tile, outputs: usize, bias: Option<&Tensor>) -> Result<Buffer> {
    let mut padded = Buffer::zeroed(outputs.next_multiple_of(tile.columns));
    if let Some(bias) = bias {
        padded[..outputs].copy_from_slice(&bias.to_dtype(DType::F32)?.to_vec1::<f32>()?);
    }
    Ok(padded)
}

struct Size {
    outputs: usize,
    inputs: usize,
    panel_columns: usize,
}

impl Size {
    fn panel(&self) -> usize {
        packed_columns(self.inputs, self.panel_columns)
    }

    fn packed(&self) -> usize {
        self.panel() * self.outputs.div_ceil(self.panel_columns)
    }

    fn pack<T: bytemuck::Pod + Send + Sync>(&self, weight: &[T]) -> Buffer<T> {
        let mut panels = Buffer::zeroed(self.packed());
        panels.par_chunks_mut(self.panel()).enumerate().for_each(|(panel, packed)| {
            let rows = weight.chunks(self.inputs).skip(panel * self.panel_columns);
            pack_columns(packed, self.panel_columns, rows);
        });
        panels
    }
}
