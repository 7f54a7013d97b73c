//! The decoder of quantized weights as MLX stores them: codes as a stream of bits, scales, biases.

use half::{bf16, f16};
use mert_arch::{Dtype, Quantization, QuantizationMode};

use super::affine::Grid;
use super::microscaling::E2M1;
use super::round::e4m3;

/// The bytes of a quantized weight, all in little-endian order.
#[derive(Debug, Clone, Copy)]
pub struct PackedWeight<'a> {
    /// The codes: in each row a stream of bits, the low bits of a byte first.
    pub codes: &'a [u8],
    /// The scale of each group: in the mode `affine` of the type `float`, otherwise one byte.
    pub scales: &'a [u8],
    /// The bias of each group in the mode `affine`; empty otherwise.
    pub biases: &'a [u8],
    /// The type of scales and biases in the mode `affine`.
    pub float: Dtype,
}

/// Decodes a weight in f32; `None` if the lengths do not belong together.
pub fn decode(weight: PackedWeight<'_>, quantization: Quantization) -> Option<Vec<f32>> {
    let Quantization { mode, bits, group_size } = quantization;
    let PackedWeight { codes, scales, biases, float } = weight;
    let size = if mode == QuantizationMode::Affine { float.size() } else { 1 };
    let groups = scales.len() / size;
    let biased = if quantization.has_biases() { scales.len() } else { 0 };
    if scales.len() % size != 0 || biases.len() != biased || codes.len() * 8 != groups * group_size * bits {
        return None;
    }
    let mut values = Vec::with_capacity(groups * group_size);
    for group in 0..groups {
        let at = |bytes: &[u8]| float_at(bytes, group, float);
        let value: &dyn Fn(u32) -> f32 = match mode {
            QuantizationMode::Affine => {
                let grid = Grid { scale: at(scales), bias: at(biases) };
                &move |code| grid.value(code as f32)
            }
            QuantizationMode::Mxfp4 => &|code| power_of_two(scales[group]) * e2m1(code),
            QuantizationMode::Mxfp8 => &|code| power_of_two(scales[group]) * e4m3(code as u8),
            QuantizationMode::Nvfp4 => &|code| e4m3(scales[group]) * e2m1(code),
        };
        // Rows are whole groups and whole words, so that the stream of all rows is one.
        values.extend((0..group_size).map(|i| value(code_at(codes, group * group_size + i, bits))));
    }
    Some(values)
}

/// The code of this index.
fn code_at(codes: &[u8], index: usize, bits: usize) -> u32 {
    let (byte, shift) = (index * bits / 8, index * bits % 8);
    let low = u32::from(codes[byte]);
    let high = codes.get(byte + 1).copied().map_or(0, u32::from);
    (low | high << 8) >> shift & ((1 << bits) - 1)
}

fn float_at(bytes: &[u8], index: usize, float: Dtype) -> f32 {
    let bytes = &bytes[index * float.size()..][..float.size()];
    match (float, bytes) {
        (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (Dtype::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("the slice has the size of the type"),
    }
}

/// The scale that an E8M0 byte stands for; 255 is NaN
/// ([OCP microscaling formats](https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf)).
fn power_of_two(byte: u8) -> f32 {
    if byte == 0xff { f32::NAN } else { 2f64.powi(i32::from(byte) - 127) as f32 }
}

/// The number that a code of E2M1 stands for; bit 3 is the sign.
fn e2m1(code: u32) -> f32 {
    let magnitude = E2M1[(code & 7) as usize];
    if code & 8 == 0 { magnitude } else { -magnitude }
}
