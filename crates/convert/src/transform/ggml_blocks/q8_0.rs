//! ggml's rule for `Q8_0`: blocks of 32 values with codes of 8 bits and a scale in f16.

use half::f16;

use super::GgmlBlocks;
use crate::transform::Span;
use crate::{ConvertError, Result};

/// The number of values in a block.
const BLOCK: usize = GgmlBlocks::LEN;

/// Replaces `out` with whole rows of values as blocks of `Q8_0`, after `quantize_row_q8_0_ref`
/// (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>). The values are the tensor's `span`, finite, and a multiple
/// of 32.
///
/// With the largest magnitude of a block, d = max / 127 in f32; the codes are value · (1 / d), rounded to nearest, halves away
/// from zero, and d is stored in f16.
///
/// # Errors
/// [`ConvertError::QuantizationRange`] where d is beyond f16.
pub(crate) fn q8_0_blocks(span: Span<'_>, values: &[f32], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    out.reserve(values.len() / BLOCK * GgmlBlocks::Q8_0.byte_len());
    for (i, block) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
        let largest = block.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let d = largest / 127.0;
        let stored = f16::from_f32(d);
        if !stored.is_finite() {
            return Err(ConvertError::QuantizationRange {
                name: span.tensor.to_string(),
                index: span.index(i * BLOCK),
                min: block.iter().copied().fold(f32::INFINITY, f32::min),
                max: block.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                reason: "whose scale is beyond f16",
            });
        }
        // A d so small that 1 / d is infinite is stored as zero: the codes do not matter, but are ggml's.
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        out.extend(stored.to_le_bytes());
        out.extend(block.iter().map(|value| round(value * inverse) as u8));
    }
    Ok(())
}

/// Replaces `values` with those that a reader gets of blocks.
pub(crate) fn q8_0_values(blocks: &[u8], values: &mut Vec<f32>) {
    values.clear();
    for [low, high, codes @ ..] in blocks.as_chunks::<{ GgmlBlocks::Q8_0.byte_len() }>().0 {
        let d = f16::from_le_bytes([*low, *high]).to_f32();
        values.extend(codes.iter().map(|&code| d * f32::from(code as i8)));
    }
}

/// Rounds to nearest, halves away from zero, as C's `roundf`, which is a call of the library on older processors; clamped
/// to 8 bits.
#[inline(always)]
fn round(value: f32) -> i8 {
    let value = value.clamp(-128.0, 127.0);
    let whole = value as i32;
    // Exact: the difference of two neighbours.
    let rest = value - whole as f32;
    (whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)) as i8
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    use super::*;

    fn quantize(values: &[f32]) -> Result<Vec<u8>> {
        let mut out = vec![0xee];
        q8_0_blocks(Span { tensor: "t", shape: &[values.len() / 32, 32], start: 0 }, values, &mut out)?;
        Ok(out)
    }

    fn blocks(values: &[f32]) -> Vec<u8> {
        quantize(values).unwrap()
    }

    /// The blocks of candle's own quantization.
    fn by_candle(values: &[f32]) -> Vec<u8> {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap().data().unwrap().into_owned()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Every binade, and in half of the cases codes on ties.
        #[test]
        fn equal_to_candle(exponent in -149i32..15, codes in prop::collection::vec(-254i32..=254, 64), shift in any::<u32>(), exact in any::<bool>()) {
            let unit = 2f32.powi(exponent);
            let mut values: Vec<f32> = codes.iter().map(|&code| code as f32 / 2.0 * unit).collect();
            if exact {
                values[0] = 127.0 * unit;
            } else {
                for (i, value) in values.iter_mut().enumerate() {
                    *value *= 1.0 + (shift.rotate_left(i as u32) >> 9) as f32 * 2f32.powi(-24);
                }
            }
            prop_assert_eq!(blocks(&values), by_candle(&values));
        }
    }

    #[test]
    fn special_blocks_are_equal_to_candle() {
        let mut values = vec![0.0; 32 * 6];
        values[32..64].fill(-3.5);
        values[64..96].copy_from_slice(&std::array::from_fn::<f32, 32, _>(|i| f32::from_bits(i as u32)));
        values[96] = f32::MIN_POSITIVE;
        values[128] = -65504.0 * 127.0;
        // A code of exactly 0.49999997, which value + 0.5 would round up.
        (values[160], values[161]) = (127.0, 0.499_999_97);
        values[191] = -0.0;
        assert_eq!(blocks(&values), by_candle(&values));
        assert_eq!(blocks(&values)[34 * 5 + 3], 0);
    }

    #[test]
    fn a_scale_beyond_f16_is_refused() {
        let mut values = vec![1.0; 96];
        // The smallest scale that rounds to infinity is 65520.
        values[70] = -65520.0 * 127.0;
        let error = quantize(&values).unwrap_err().to_string();
        assert!(error.contains("-8.32104e6 to 1e0 in the group at index [2, 0], whose scale"), "{error}");
        values[70] = -65519.0 * 127.0;
        assert_eq!(blocks(&values), by_candle(&values));
    }
}
