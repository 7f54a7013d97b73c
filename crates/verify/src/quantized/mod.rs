//! Quantized weights in the judge's own arithmetic: what the codes of a weight must stand for, what those in a file do
//! stand for, and how the two are compared. Nothing is shared with the converter, which computes codes, or with the runtime,
//! which decodes them.

mod affine;
mod check;
mod microscaling;
mod packed;
mod round;

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};

pub use self::check::{Codes, WeightVerdict, check_weight};
pub use self::packed::{PackedWeight, decode};

/// Replaces the values of a weight by those that the codes of `mx.quantize` on the CPU stand for: rounded to `float`, then
/// quantized and decoded in f32. Groups lie one after the other; the length is a multiple of the group size.
///
/// ```
/// use mert_arch::{Dtype, QuantizationMode};
/// use mert_verify::quantized::quantize_dequantize;
///
/// let mut row: Vec<f32> = (0..64).map(|i| i as f32 / 63.0).collect();
/// quantize_dequantize(&mut row, QuantizationMode::Affine.default_quantization(), Dtype::F32);
/// // 16 values are left, 1/15 apart.
/// assert!((row[30] - 7.0 / 15.0).abs() < 1e-6 && (row[32] - 8.0 / 15.0).abs() < 1e-6);
/// ```
pub fn quantize_dequantize(values: &mut [f32], quantization: Quantization, float: Dtype) {
    let Quantization { mode, bits, group_size } = quantization;
    for group in values.chunks_mut(group_size) {
        group.iter_mut().for_each(|value| *value = round::round_to(float, *value));
        match mode {
            QuantizationMode::Affine => affine::quantize_group(group, bits, float),
            _ => microscaling::quantize_group(group, mode, float),
        }
    }
}

/// Replaces the values of a weight by those that a file of this encoding must hold.
pub fn encode_decode(values: &mut [f32], encoding: Encoding) {
    match encoding {
        Encoding::Float(dtype) => values.iter_mut().for_each(|value| *value = round::round_to(dtype, *value)),
        Encoding::Quantized { quantization, float } => quantize_dequantize(values, quantization, float),
    }
}

#[cfg(test)]
mod tests;
