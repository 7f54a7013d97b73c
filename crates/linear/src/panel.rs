//! Panels of a weight in f32, `[inner step][column]`, for products with many rows: a lane for each row of the weight.

// Loops over constants are unrolled, so that shifts and words are constants, too.
#![allow(clippy::needless_range_loop)]

use mert_arch::{Dtype, Encoding};
use mert_simd::Buffer;
use pulp::Simd;

use crate::decode::code;
use crate::linear::Linear;
use crate::vector::{MAX_LANES, load_floats, load_words, widen};

/// Inner steps of a row of floats that are transposed at a time, while their panel rows are in the first-level cache.
const TRANSPOSED: usize = 64;

/// The part of a weight that a panel holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel {
    /// The first row of the weight.
    pub(crate) first: usize,
    /// Rows of the weight, at most the columns of a panel.
    pub(crate) columns: usize,
    /// The first inner step: a column of the weight, and a multiple of the group size.
    pub(crate) step: usize,
    /// Inner steps.
    pub(crate) steps: usize,
}

/// Memory for a decoded panel.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    values: Buffer,
    /// `[column][group]`.
    scales: Buffer,
    biases: Buffer,
}

impl Decoder {
    /// A panel of `VECTORS` registers of columns and `padded` inner steps: scale·code + bias in f32, zero beyond the rows
    /// and inner steps that it holds.
    #[inline(always)]
    pub(crate) fn decode<S: Simd, const VECTORS: usize>(
        &mut self,
        simd: S,
        linear: &Linear,
        panel: Panel,
        padded: usize,
    ) -> &[f32] {
        let columns = VECTORS * S::F32_LANES;
        let values = self.values.take(padded * columns);
        if panel.columns < columns || panel.steps < padded {
            values.fill(0.0);
        }
        match linear.encoding() {
            Encoding::Float(dtype) => transpose(values, columns, linear, dtype, panel),
            Encoding::Quantized { quantization, .. } => {
                let (group_size, first) = (quantization.group_size, panel.step / quantization.group_size);
                let count = panel.steps / group_size;
                let (scales, biases) = (self.scales.take(columns * count), self.biases.take(columns * count));
                if panel.columns < columns {
                    scales.fill(0.0);
                    biases.fill(0.0);
                }
                for column in 0..panel.columns {
                    let (dtype, row_scales, row_biases) = linear.group_floats(panel.first + column, 1);
                    let bytes = first * dtype.size()..(first + count) * dtype.size();
                    let out = column * count..(column + 1) * count;
                    widen(dtype, &row_scales[bytes.clone()], &mut scales[out.clone()]);
                    widen(dtype, &row_biases[bytes], &mut biases[out]);
                }
                let groups = Groups { group_size, count, scales, biases };
                match quantization.bits {
                    2 => codes::<S, VECTORS, 2, 1, 16>(simd, values, linear, panel, groups),
                    3 => codes::<S, VECTORS, 3, 3, 32>(simd, values, linear, panel, groups),
                    4 => codes::<S, VECTORS, 4, 1, 8>(simd, values, linear, panel, groups),
                    5 => codes::<S, VECTORS, 5, 5, 32>(simd, values, linear, panel, groups),
                    6 => codes::<S, VECTORS, 6, 3, 16>(simd, values, linear, panel, groups),
                    _ => codes::<S, VECTORS, 8, 1, 4>(simd, values, linear, panel, groups),
                }
            }
        }
        values
    }
}

/// Floats, a few inner steps of each row at a time.
fn transpose(values: &mut [f32], columns: usize, linear: &Linear, dtype: Dtype, panel: Panel) {
    let mut row = [0.0; TRANSPOSED];
    for start in (0..panel.steps).step_by(TRANSPOSED) {
        let steps = TRANSPOSED.min(panel.steps - start);
        let values = &mut values[start * columns..][..steps * columns];
        let bytes = (panel.step + start) * dtype.size()..(panel.step + start + steps) * dtype.size();
        for column in 0..panel.columns {
            let [stored] = linear.rows::<1>(panel.first + column);
            widen(dtype, &stored.words[bytes.clone()], &mut row[..steps]);
            for (place, &value) in values[column..].iter_mut().step_by(columns).zip(&row) {
                *place = value;
            }
        }
    }
}

/// The scales and biases of a panel, `[column][group]`.
#[derive(Clone, Copy)]
struct Groups<'a> {
    group_size: usize,
    count: usize,
    scales: &'a [f32],
    biases: &'a [f32],
}

impl Groups<'_> {
    /// The values of group `group` in registers of columns.
    #[inline(always)]
    fn gather<S: Simd, const VECTORS: usize>(&self, values: &[f32], group: usize) -> [S::f32s; VECTORS] {
        std::array::from_fn(|vector| {
            let mut lanes = [0.0; MAX_LANES];
            for (lane, value) in lanes[..S::F32_LANES].iter_mut().enumerate() {
                *value = values[(vector * S::F32_LANES + lane) * self.count + group];
            }
            load_floats::<S>(&lanes)
        })
    }
}

/// Codes of `BITS` bits, of which `CODES` fill `WORDS` words.
#[inline(always)]
fn codes<S: Simd, const VECTORS: usize, const BITS: usize, const WORDS: usize, const CODES: usize>(
    simd: S,
    values: &mut [f32],
    linear: &Linear,
    panel: Panel,
    groups: Groups<'_>,
) {
    let row_bytes = linear.row_bytes();
    let first_byte = panel.step * BITS / 8;
    // Empty rows for the columns beyond the weight.
    let mut rows: [&[u8]; 4 * MAX_LANES] = [&[]; 4 * MAX_LANES];
    for (column, row) in rows[..panel.columns].iter_mut().enumerate() {
        let [stored] = linear.rows::<1>(panel.first + column);
        *row = &stored.words[first_byte..row_bytes];
    }
    let (values, _) = S::as_mut_simd_f32s(values);
    let units = values.as_chunks_mut::<VECTORS>().0.as_chunks_mut::<CODES>().0;
    let units_per_group = groups.group_size / CODES;
    for (group, units) in units.chunks_exact_mut(units_per_group).take(groups.count).enumerate() {
        let scales = groups.gather::<S, VECTORS>(groups.scales, group);
        let biases = groups.gather::<S, VECTORS>(groups.biases, group);
        for (unit, values) in units.iter_mut().enumerate() {
            let start = (group * units_per_group + unit) * WORDS * 4;
            for vector in 0..VECTORS {
                let words = column_words::<S, WORDS>(&rows[vector * S::F32_LANES..][..S::F32_LANES], start);
                for i in 0..CODES {
                    let code = code::<S, BITS, WORDS>(simd, &words, i);
                    values[i][vector] = simd.add_f32s(simd.mul_f32s(scales[vector], code), biases[vector]);
                }
            }
        }
    }
}

/// The words at byte `start` of a register of rows, a row in each lane.
#[inline(always)]
fn column_words<S: Simd, const WORDS: usize>(rows: &[&[u8]], start: usize) -> [S::u32s; WORDS] {
    let mut columns = [[0u32; MAX_LANES]; WORDS];
    for (lane, row) in rows.iter().enumerate() {
        if let Some(bytes) = row.get(start..start + WORDS * 4) {
            for (word, &bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
                columns[word][lane] = u32::from_le_bytes(bytes);
            }
        }
    }
    columns.map(|column| load_words::<S>(bytemuck::cast_slice(&column)))
}
