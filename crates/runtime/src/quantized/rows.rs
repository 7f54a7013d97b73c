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

#[cfg(test)]
mod tests {
    use mert_arch::Quantization;

    use super::*;
    use crate::quantized::QuantizedEncoding;

    const SHAPE: (usize, usize) = (6, 384);

    /// The generator of `scripts/fixtures/make_dequantized.py`.
    struct Noise(u64);

    impl Noise {
        fn bits(&mut self, count: u32) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 >> (64 - count)
        }

        /// Numbers between -2 and 2 as floats of this type.
        fn floats(&mut self, count: usize, float: Dtype) -> Vec<u8> {
            let values = (0..count).map(|_| self.bits(24) as f32 / (1 << 22) as f32 - 2.0);
            match float {
                Dtype::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
                Dtype::Bf16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
                Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            }
        }
    }

    fn digest(values: &[f32]) -> u64 {
        let bits = values.iter().map(|&value| if value.is_nan() { 0x7fc0_0000 } else { (value + 0.0).to_bits() });
        bits.fold(0xcbf2_9ce4_8422_2325, |state, bits| (state ^ u64::from(bits)).wrapping_mul(0x100_0000_01b3))
    }

    /// Every bit of every value, for all modes, bits, groups and types of scales.
    #[test]
    fn values_are_those_of_mlx() {
        let (outputs, inputs) = SHAPE;
        let lines: Vec<&str> = include_str!("mlx.tsv").lines().collect();
        assert_eq!(lines.len(), 6 * 3 * 3 + 3);
        for line in lines {
            let [mode, bits, group, float, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let quantization =
                Quantization::new(mode.parse().unwrap(), bits.parse().unwrap(), group.parse().unwrap()).unwrap();
            let encoding = QuantizedEncoding::new(quantization, float.parse().unwrap_or(Dtype::Bf16));
            let (mut noise, groups) = (Noise(1), outputs * quantization.groups(inputs));
            let words = outputs * quantization.packed_columns(inputs);
            let words: Vec<u8> = (0..words).flat_map(|_| (noise.bits(32) as u32).to_le_bytes()).collect();
            let (scales, biases) = match encoding.scale {
                ScaleType::Float(float) => (noise.floats(groups, float), noise.floats(groups, float)),
                _ => ((0..groups).map(|i| (i * 7 % 255) as u8).collect(), Vec::new()),
            };
            let weight = QuantizedWeight { encoding, outputs, inputs, words: &words, scales: &scales, biases: &biases };
            assert_eq!(format!("{:016x}", digest(&weight.values())), expected, "{line}");
        }
    }
}
