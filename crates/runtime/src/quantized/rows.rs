//! The values of a quantized weight, row by row.

use half::{bf16, f16};
use mert_arch::{Dtype, QuantizationMode};
use rayon::prelude::*;

use super::{QuantizedWeight, ScaleType, e2m1, e4m3, e8m0};

impl QuantizedWeight<'_> {
    /// All values `(outputs, inputs)` in f32.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.outputs * self.inputs];
        values.par_chunks_mut(self.inputs).enumerate().for_each(|(row, values)| self.decode_row(row, values));
        values
    }

    /// The values of a row: scale · code + bias, product and sum rounded to f32 each.
    fn decode_row(&self, row: usize, values: &mut [f32]) {
        let quantization = self.encoding.quantization;
        let (bits, group_size) = (quantization.bits, quantization.group_size);
        let size = quantization.packed_columns(self.inputs) * size_of::<u32>();
        let mut codes = Codes { bytes: &self.words[row * size..][..size], buffer: 0, filled: 0 };
        let code_value = match (quantization.mode, bits) {
            (QuantizationMode::Affine, _) => f32::from,
            (_, 8) => e4m3,
            _ => e2m1,
        };
        let first = row * quantization.groups(self.inputs);
        for (group, values) in values.chunks_exact_mut(group_size).enumerate() {
            let scale = self.encoding.scale.read(self.scales, first + group);
            match quantization.has_biases() {
                true => {
                    let bias = self.encoding.scale.read(self.biases, first + group);
                    values.iter_mut().for_each(|value| *value = scale * code_value(codes.next(bits)) + bias);
                }
                false => values.iter_mut().for_each(|value| *value = scale * code_value(codes.next(bits))),
            }
        }
    }
}

/// The codes of a row in order.
struct Codes<'a> {
    bytes: &'a [u8],
    /// Bits that are read but not yet used, the next one lowest.
    buffer: u32,
    filled: usize,
}

impl Codes<'_> {
    fn next(&mut self, bits: usize) -> u8 {
        while self.filled < bits {
            let Some((&byte, rest)) = self.bytes.split_first() else { break };
            self.bytes = rest;
            self.buffer |= u32::from(byte) << self.filled;
            self.filled += 8;
        }
        let code = self.buffer & ((1 << bits) - 1);
        self.buffer >>= bits;
        self.filled = self.filled.saturating_sub(bits);
        code as u8
    }
}

impl ScaleType {
    /// Element `index` of a tensor of this type.
    fn read(self, bytes: &[u8], index: usize) -> f32 {
        let bytes = &bytes[index * self.size()..][..self.size()];
        match (self, bytes) {
            (ScaleType::Float(Dtype::F16), &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (ScaleType::Float(Dtype::Bf16), &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (ScaleType::Float(_), &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (ScaleType::E4m3, &[byte]) => e4m3(byte),
            (ScaleType::E8m0, &[byte]) => e8m0(byte),
            _ => f32::NAN,
        }
    }
}
