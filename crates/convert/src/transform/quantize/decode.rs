//! The values of quantized rows, as MLX's `mx.dequantize` defines them, in f32: what the result of a conversion is measured by.

use half::{bf16, f16};
use mert_arch::{Dtype, Quantization, QuantizationMode};

use super::microscaling::{e2m1_value, e4m3_value};
use super::{Quantize, QuantizedRows};

impl Quantize {
    /// Replaces `values` with those that a reader gets of rows that [`Quantize::apply`] encoded.
    pub fn decode(&self, rows: &QuantizedRows, values: &mut Vec<f32>) {
        let Quantization { mode, bits, group_size } = self.quantization;
        values.clear();
        for (group, codes) in rows.weight.chunks_exact(group_size / 8 * bits).enumerate() {
            let (scale, bias) = match mode {
                QuantizationMode::Affine => (self.float(&rows.scales, group), self.float(&rows.biases, group)),
                QuantizationMode::Nvfp4 => (e4m3_value(rows.scales[group]), 0.0),
                QuantizationMode::Mxfp4 | QuantizationMode::Mxfp8 => {
                    (2f32.powi(i32::from(rows.scales[group]) - 127), 0.0)
                }
            };
            for code in unpack(codes, bits) {
                let value = match (mode, bits) {
                    (QuantizationMode::Affine, _) => f32::from(code),
                    (_, 8) => e4m3_value(code & 0x7f).copysign(if code >> 7 == 0 { 1.0 } else { -1.0 }),
                    _ => e2m1_value(code),
                };
                values.push(scale * value + bias);
            }
        }
    }

    /// The float of a group.
    fn float(&self, bytes: &[u8], group: usize) -> f32 {
        let at = group * self.float.size();
        match (self.float, &bytes[at..at + self.float.size()]) {
            (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (Dtype::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN,
        }
    }
}

/// The codes of `bits` bits in a little-endian bit stream of whole groups.
fn unpack(bytes: &[u8], bits: usize) -> impl Iterator<Item = u8> {
    let mask = (1u32 << bits) - 1;
    (0..bytes.len() * 8 / bits).map(move |i| {
        let at = i * bits;
        let next = bytes.get(at / 8 + 1).copied().unwrap_or_default();
        let word = u32::from(bytes[at / 8]) | u32::from(next) << 8;
        (word >> (at % 8) & mask) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Span;

    /// Every mode and width returns values that it can hold exactly, among them both signs and the largest.
    #[test]
    fn representable_values_come_back() {
        use QuantizationMode::{Affine, Mxfp4, Mxfp8, Nvfp4};
        // Each group has both ends of the codes.
        let codes = |top: usize| {
            let code = |i: usize| [0, top, i * 37 % (top + 1)][if i % 32 < 2 { i % 32 } else { 2 }] as f32;
            (0..64).map(code).collect::<Vec<_>>()
        };
        let small = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
        let floats = |scale: f32| (0..64).map(|i| small[(i * 7 + 3) % 15] * scale).collect::<Vec<_>>();
        let bytes: Vec<f32> = (0..64).map(|i| [448.0, -0.5, 3.25, -240.0, 0.017578125][i % 5]).collect();
        let mut cases: Vec<_> =
            [2, 3, 4, 5, 6, 8].into_iter().map(|bits| (Affine, bits, 32, codes((1 << bits) - 1))).collect();
        cases.extend([(Mxfp4, 4, 32, floats(0.25)), (Mxfp8, 8, 32, bytes), (Nvfp4, 4, 16, floats(1.0))]);
        for (mode, bits, group_size, values) in cases {
            for float in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
                let quantization = Quantization::new(mode, bits, group_size).unwrap();
                let quantize = Quantize { quantization, float };
                let (mut rows, mut decoded) = (QuantizedRows::default(), vec![9.0]);
                quantize.apply(Span { tensor: "t", shape: &[1, 64], start: 0 }, 64, &values, &mut rows).unwrap();
                quantize.decode(&rows, &mut decoded);
                assert_eq!(decoded, values, "{quantization} {float}");
            }
        }
    }
}
