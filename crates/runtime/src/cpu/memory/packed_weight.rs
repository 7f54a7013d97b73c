//! The right operand of a product: a weight matrix in panels, packed once when a model is loaded.

use candle_core::{DType, Result, Tensor};
use half::{bf16, f16};
use mert_simd::{Buffer, Factors, LINE, Tile, bf16_words, int8_words, pack_columns, packed_columns, pair_words};
use rayon::prelude::*;

use super::super::arithmetic::{Arithmetic, inner_block};
use super::quantized_panels::{QuantizedPanel, QuantizedPanels};
use crate::quantized::QuantizedWeight;

/// A weight matrix `(outputs, inputs)` and its bias, for products `x · weightᵀ + bias`.
///
/// For products of f32 numbers the weights keep the encoding of the file: 16-bit weights are widened, exactly, and quantized
/// ones decoded, each time that a panel of them enters the cache, half the memory or less, and as much less traffic from it.
/// For products of bf16 numbers float weights are rounded to bf16, for those of 8-bit integers all weights to integers, with a
/// scale for each output; both are stored as they are multiplied.
#[derive(Debug, Default)]
pub(crate) struct PackedWeight {
    /// The weights as `[panel][inner word][column of the panel]`, padded with zeros to whole panels and lines; words in pairs if
    /// the products of the factors take them so.
    panels: Panels,
    /// The bias, padded with zeros to whole panels.
    bias: Buffer,
    factors: Factors,
    columns: Int8Columns,
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
    /// Words of the factors.
    Words(Buffer<u32>),
}

/// The columns of a weight of 8-bit integers besides their codes, filled up to whole panels.
#[derive(Debug, Default)]
struct Int8Columns {
    /// The scale of each column.
    scales: Buffer,
    /// The sum of the integers of each column, `[block of the inner dimension][column]`.
    sums: Buffer,
}

/// Some inner steps of a panel, as they are stored.
pub(crate) enum PanelPart<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    Quantized(QuantizedPanel<'a>),
    Words(&'a [u32]),
}

impl Default for Panels {
    fn default() -> Self {
        Panels::F32(Buffer::default())
    }
}

impl PackedWeight {
    /// Packs `weight` `(outputs, inputs)`, in any of the three float types, and `bias` `(outputs,)` for products of `arithmetic`
    /// whose tiles have the size `tile`.
    pub(crate) fn pack(arithmetic: Arithmetic, tile: Tile, weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let factors = arithmetic.factors;
        let (outputs, inputs) = weight.dims2()?;
        let size = Size { outputs, inputs, panel_columns: tile.columns };
        let weight = weight.flatten_all()?;
        let f32s = || weight.to_dtype(DType::F32)?.to_vec1::<f32>();
        let mut columns = Int8Columns::default();
        let mut panels = match (factors, weight.dtype()) {
            (Factors::F32, DType::F16) => Panels::F16(size.pack(&weight.to_vec1()?)),
            (Factors::F32, DType::BF16) => Panels::Bf16(size.pack(&weight.to_vec1()?)),
            (Factors::F32, _) => Panels::F32(size.pack(&f32s()?)),
            (Factors::Bf16, _) => Panels::Words(size.pack_words(factors, &f32s()?, |row, _| bf16_words(row))),
            (Factors::Int8, _) => {
                let values = f32s()?;
                columns = Int8Columns::scales_of(&values, size);
                let scales = &columns.scales;
                let panels = size.pack_words(factors, &values, |row, output| int8_words(row, scales[output]));
                columns.add_sums(&panels, size);
                Panels::Words(panels)
            }
        };
        if let Panels::Words(words) = &mut panels
            && arithmetic.pairs_words()
        {
            pair_words(words);
        }
        Ok(PackedWeight { panels, bias: padded_bias(tile, outputs, bias)?, factors, columns, tile, outputs, inputs })
    }

    /// Packs a quantized weight and `bias` `(outputs,)`. It is not decoded, except for products of 8-bit integers.
    pub(crate) fn pack_quantized(
        arithmetic: Arithmetic,
        tile: Tile,
        weight: &QuantizedWeight<'_>,
        bias: &Tensor,
    ) -> Result<Self> {
        let (outputs, inputs, factors) = (weight.outputs, weight.inputs, arithmetic.factors);
        if factors == Factors::Int8 {
            let values = Tensor::from_vec(weight.values(), (outputs, inputs), &candle_core::Device::Cpu)?;
            return PackedWeight::pack(arithmetic, tile, &values, Some(bias));
        }
        let panels = Panels::Quantized(QuantizedPanels::pack(weight, tile.columns));
        let bias = padded_bias(tile, outputs, Some(bias))?;
        Ok(PackedWeight { panels, bias, factors, columns: Int8Columns::default(), tile, outputs, inputs })
    }

    /// Replaces the matrix by another in f32, in the same memory: `rows` yields the weights and the bias of each
    /// output.
    pub(crate) fn repack<R: Iterator<Item = f32>>(
        &mut self,
        tile: Tile,
        (outputs, inputs): (usize, usize),
        rows: impl Iterator<Item = (R, f32)>,
    ) {
        (self.tile, self.factors, self.outputs, self.inputs) = (tile, Factors::F32, outputs, inputs);
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

    /// The numbers that the product multiplies.
    pub(crate) fn factors(&self) -> Factors {
        self.factors
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

    /// The scales of the columns of `panel`; empty unless they are integers.
    pub(crate) fn scales(&self, panel: usize) -> &[f32] {
        let first = panel * self.tile.columns;
        self.columns.scales.get(first..first + self.tile.columns).unwrap_or_default()
    }

    /// The sums of the columns of `panel` in a block of the inner dimension; empty unless they are integers.
    pub(crate) fn sums(&self, panel: usize, block: usize) -> &[f32] {
        let first = block * self.columns.scales.len() + panel * self.tile.columns;
        self.columns.sums.get(first..first + self.tile.columns).unwrap_or_default()
    }

    /// Inner words in a block of the inner dimension.
    pub(crate) fn inner_block(&self) -> usize {
        let block = inner_block(self.factors, self.inputs);
        match &self.panels {
            Panels::Quantized(panels) => {
                block.next_multiple_of((panels.group_size() / self.factors.in_word()).next_multiple_of(LINE))
            }
            _ => block,
        }
    }

    /// Inner words `first..first + words` of `panel`: a block of the inner dimension, or its last part.
    pub(crate) fn panel(&self, panel: usize, first: usize, words: usize) -> PanelPart<'_> {
        let range = self.range(panel, first, words);
        match &self.panels {
            Panels::F32(panels) => PanelPart::F32(&panels[range]),
            Panels::F16(panels) => PanelPart::F16(&panels[range]),
            Panels::Bf16(panels) => PanelPart::Bf16(&panels[range]),
            Panels::Words(panels) => PanelPart::Words(&panels[range]),
            Panels::Quantized(panels) => {
                let (first, steps) = self.steps(first, words);
                PanelPart::Quantized(panels.panel(panel, first, steps))
            }
        }
    }

    /// The bytes of [`PackedWeight::panel`]; empty after the last panel.
    pub(crate) fn panel_bytes(&self, panel: usize, first: usize, words: usize) -> &[u8] {
        let range = self.range(panel, first, words);
        match &self.panels {
            Panels::F32(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::F16(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::Bf16(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::Words(panels) => bytemuck::cast_slice(panels.get(range).unwrap_or_default()),
            Panels::Quantized(panels) => {
                let (first, steps) = self.steps(first, words);
                panels.panel_bytes(panel, first, steps)
            }
        }
    }

    /// The first inner step and the number of steps that are in inner words `first..first + words`: those that fill up the last
    /// line are left out.
    fn steps(&self, first: usize, words: usize) -> (usize, usize) {
        let (first, steps) = (first * self.factors.in_word(), words * self.factors.in_word());
        (first, steps.min(self.inputs.next_multiple_of(LINE).saturating_sub(first)))
    }

    fn range(&self, panel: usize, first: usize, words: usize) -> std::ops::Range<usize> {
        let start = (panel * self.factors.words(self.inputs) + first) * self.tile.columns;
        start..start + words * self.tile.columns
    }
}

impl Int8Columns {
    /// The scales of a weight `(outputs, inputs)`.
    fn scales_of(values: &[f32], size: Size) -> Self {
        let mut scales = Buffer::zeroed(size.outputs.next_multiple_of(size.panel_columns));
        scales
            .par_iter_mut()
            .zip(values.par_chunks(size.inputs.max(1)))
            .for_each(|(scale, row)| *scale = int8_scale(row));
        Int8Columns { scales, sums: Buffer::default() }
    }

    /// Sums the codes of packed panels.
    fn add_sums(&mut self, panels: &[u32], size: Size) {
        let words = Factors::Int8.words(size.inputs);
        let block = inner_block(Factors::Int8, size.inputs).max(1);
        let (columns, panel) = (self.scales.len(), size.panel_columns);
        self.sums = Buffer::zeroed(words.div_ceil(block) * columns);
        for (i, packed) in panels.chunks(words.max(1) * panel).enumerate() {
            for (j, packed) in packed.chunks(block * panel).enumerate() {
                let sums = &mut self.sums[j * columns + i * panel..][..panel];
                for words in packed.chunks_exact(panel) {
                    for (sum, word) in sums.iter_mut().zip(words) {
                        // Whole numbers, exact in f32.
                        *sum += word.to_le_bytes().iter().map(|&code| i32::from(code as i8)).sum::<i32>() as f32;
                    }
                }
            }
        }
    }
}

/// The scale with which the largest magnitude of a row becomes 127; NaN if a value is not finite.
fn int8_scale(row: &[f32]) -> f32 {
    match row.iter().all(|x| x.is_finite()) {
        true => row.iter().fold(0.0f32, |max, x| max.max(x.abs())) / 127.0,
        false => f32::NAN,
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

#[derive(Clone, Copy)]
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

    /// Packs the words that `words` makes of each row and its index.
    fn pack_words(
        &self,
        factors: Factors,
        weight: &[f32],
        words: impl Fn(&[f32], usize) -> Vec<u32> + Sync,
    ) -> Buffer<u32> {
        let panel_words = factors.words(self.inputs) * self.panel_columns;
        let mut panels = Buffer::zeroed(panel_words * self.outputs.div_ceil(self.panel_columns));
        panels.par_chunks_mut(panel_words.max(1)).enumerate().for_each(|(panel, packed)| {
            let first = panel * self.panel_columns;
            let rows = weight.chunks(self.inputs).enumerate().skip(first).take(self.panel_columns);
            let rows: Vec<Vec<u32>> = rows.map(|(output, row)| words(row, output)).collect();
            pack_columns(packed, self.panel_columns, rows.iter().map(Vec::as_slice));
        });
        panels
    }
}
