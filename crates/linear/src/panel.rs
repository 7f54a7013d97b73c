//! Panels of a weight in f32, `[inner step][column]`, for products with many rows: a lane for each row of the weight.

// Loops over constants are unrolled, so that shifts and words are constants, too.
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;

use mert_arch::{Dtype, Encoding};
use mert_simd::Buffer;
use pulp::Simd;

use crate::decode::code;
use crate::linear::Linear;
use crate::matvec::{self, Bf16, F16, F32};
use crate::unroll::unroll;
use crate::vector::{MAX_LANES, load_floats, load_words, widen_with};

/// Values that are decoded together. Codes of any bits fill whole words, and every group is a whole number of units.
const UNIT: usize = 32;

/// Columns of the widest panel.
const MAX_COLUMNS: usize = 4 * MAX_LANES;

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
        let values = self.values.take(padded.next_multiple_of(UNIT) * columns);
        if panel.columns < columns || panel.steps < padded {
            values.fill(0.0);
        }
        let mut rows: Rows<'_> = [&[]; MAX_COLUMNS];
        for (column, row) in rows[..panel.columns].iter_mut().enumerate() {
            [*row] = linear.rows::<1>(panel.first + column);
        }
        match linear.encoding() {
            Encoding::Float(dtype) => {
                let first_byte = panel.step * dtype.size();
                rows[..panel.columns].iter_mut().for_each(|row| *row = &row[first_byte..]);
                let groups = Groups { size: UNIT, count: panel.steps.div_ceil(UNIT), scales: &[], biases: &[] };
                match dtype {
                    Dtype::F32 => units::<S, Floats<F32>, VECTORS, 32>(simd, values, &rows, groups),
                    Dtype::F16 => units::<S, Floats<F16>, VECTORS, 16>(simd, values, &rows, groups),
                    Dtype::Bf16 => units::<S, Floats<Bf16>, VECTORS, 16>(simd, values, &rows, groups),
                }
            }
            Encoding::Quantized { quantization, .. } => {
                let (size, first) = (quantization.group_size, panel.step / quantization.group_size);
                let first_byte = panel.step * quantization.bits / 8;
                rows[..panel.columns].iter_mut().for_each(|row| *row = &row[first_byte..]);
                let count = panel.steps / size;
                let (scales, biases) = (self.scales.take(columns * count), self.biases.take(columns * count));
                if panel.columns < columns {
                    scales.fill(0.0);
                    biases.fill(0.0);
                }
                for column in 0..panel.columns {
                    let (dtype, row_scales, row_biases) = linear.group_floats(panel.first + column, 1);
                    let bytes = first * dtype.size()..(first + count) * dtype.size();
                    let out = column * count..(column + 1) * count;
                    widen_with(simd, dtype, &row_scales[bytes.clone()], &mut scales[out.clone()]);
                    widen_with(simd, dtype, &row_biases[bytes], &mut biases[out]);
                }
                let groups = Groups { size, count, scales, biases };
                match quantization.bits {
                    2 => units::<S, Codes<2>, VECTORS, 2>(simd, values, &rows, groups),
                    3 => units::<S, Codes<3>, VECTORS, 3>(simd, values, &rows, groups),
                    4 => units::<S, Codes<4>, VECTORS, 4>(simd, values, &rows, groups),
                    5 => units::<S, Codes<5>, VECTORS, 5>(simd, values, &rows, groups),
                    6 => units::<S, Codes<6>, VECTORS, 6>(simd, values, &rows, groups),
                    _ => units::<S, Codes<8>, VECTORS, 8>(simd, values, &rows, groups),
                }
            }
        }
        &values[..padded * columns]
    }
}

/// What is left of each row from the panel's first inner step on, empty for columns beyond the weight.
type Rows<'a> = [&'a [u8]; MAX_COLUMNS];

/// The values of a unit in its words.
trait Unit<const WORDS: usize> {
    /// Value `i` of each lane.
    fn value<S: Simd>(simd: S, words: &[S::u32s; WORDS], i: usize) -> S::f32s;
}

/// Codes of `BITS` bits, as many words as bits.
struct Codes<const BITS: usize>;

impl<const BITS: usize> Unit<BITS> for Codes<BITS> {
    #[inline(always)]
    fn value<S: Simd>(simd: S, words: &[S::u32s; BITS], i: usize) -> S::f32s {
        code::<S, BITS, BITS>(simd, words, i)
    }
}

/// Floats, one or two in a word.
struct Floats<C>(PhantomData<C>);

impl<C: matvec::Codes, const WORDS: usize> Unit<WORDS> for Floats<C> {
    #[inline(always)]
    fn value<S: Simd>(simd: S, words: &[S::u32s; WORDS], i: usize) -> S::f32s {
        C::value(simd, words[i / C::SLOTS], i % C::SLOTS)
    }
}

/// The scales and biases of a panel, `[column][group]`.
#[derive(Clone, Copy)]
struct Groups<'a> {
    /// Values of a group.
    size: usize,
    /// Groups of a row of the panel.
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

/// Decodes all groups, each in units of 32 values in `WORDS` words.
#[inline(always)]
fn units<S: Simd, U: Unit<WORDS>, const VECTORS: usize, const WORDS: usize>(
    simd: S,
    values: &mut [f32],
    rows: &Rows<'_>,
    groups: Groups<'_>,
) {
    let (values, _) = S::as_mut_simd_f32s(values);
    let (values, _) = values.as_chunks_mut::<VECTORS>();
    let is_affine = !groups.scales.is_empty();
    let (values, _) = values.as_chunks_mut::<UNIT>();
    for (group, values) in values.chunks_mut(groups.size / UNIT).take(groups.count).enumerate() {
        let mut scales = [simd.splat_f32s(0.0); VECTORS];
        let mut biases = scales;
        if is_affine {
            scales = groups.gather::<S, VECTORS>(groups.scales, group);
            biases = groups.gather::<S, VECTORS>(groups.biases, group);
        }
        for (unit, values) in values.iter_mut().enumerate() {
            let start = (group * groups.size / UNIT + unit) * WORDS * 4;
            let columns = column_words::<S, VECTORS, WORDS>(rows, start);
            for (vector, columns) in columns.iter().enumerate() {
                let words: [S::u32s; WORDS] =
                    std::array::from_fn(|word| load_words::<S>(bytemuck::cast_slice(&columns[word])));
                unroll!(i < UNIT => {
                    let value = U::value(simd, &words, i);
                    values[i][vector] = match is_affine {
                        true => simd.add_f32s(simd.mul_f32s(scales[vector], value), biases[vector]),
                        false => value,
                    };
                });
            }
        }
    }
}

/// The words of a unit, `[vector][word][lane]` with a row in each lane, filled up with zeros at the end of rows. All are
/// copied before any is used: a register loaded right after stores of its parts would wait for them.
#[inline(always)]
fn column_words<S: Simd, const VECTORS: usize, const WORDS: usize>(
    rows: &Rows<'_>,
    start: usize,
) -> [[[u32; MAX_LANES]; WORDS]; VECTORS] {
    let mut columns = [[[0u32; MAX_LANES]; WORDS]; VECTORS];
    for (columns, rows) in columns.iter_mut().zip(rows.chunks_exact(S::F32_LANES)) {
        for (lane, row) in rows.iter().enumerate() {
            match row.get(start..start + WORDS * 4) {
                Some(bytes) => {
                    let (words, _) = bytes.as_chunks::<4>();
                    for word in 0..WORDS {
                        columns[word][lane] = u32::from_le_bytes(words[word]);
                    }
                }
                None => {
                    for (word, bytes) in row.get(start..).unwrap_or_default().chunks(4).enumerate() {
                        let mut padded = [0; 4];
                        padded[..bytes.len()].copy_from_slice(bytes);
                        columns[word][lane] = u32::from_le_bytes(padded);
                    }
                }
            }
        }
    }
    columns
}
