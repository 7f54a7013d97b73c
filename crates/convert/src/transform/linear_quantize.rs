//! Linear quantization as coremltools does it: codes of 4 or 8 bits, with a scale and an optional offset for each block.

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::Serialize;

use super::pack_bits::pack_bits;
use super::span::Span;
use crate::{ConvertError, Result};

/// The integer type of codes, and with it coremltools' `mode`: the signed types are `linear_symmetric`, without offsets, the
/// unsigned ones `linear`, with an offset for each scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeType {
    /// From -7 to 7.
    Int4,
    /// From 0 to 15, with an offset.
    Uint4,
    /// From -127 to 127.
    Int8,
    /// From 0 to 255, with an offset.
    Uint8,
}

impl CodeType {
    /// The number of bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            CodeType::Int4 | CodeType::Uint4 => 4,
            CodeType::Int8 | CodeType::Uint8 => 8,
        }
    }

    /// Whether each scale has an offset, the code of zero.
    pub const fn has_offset(self) -> bool {
        matches!(self, CodeType::Uint4 | CodeType::Uint8)
    }

    /// The name in MIL and in coremltools.
    pub const fn name(self) -> &'static str {
        match self {
            CodeType::Int4 => "int4",
            CodeType::Uint4 => "uint4",
            CodeType::Int8 => "int8",
            CodeType::Uint8 => "uint8",
        }
    }

    /// The smallest and the largest code in use.
    const fn range(self) -> (f32, f32) {
        match self {
            CodeType::Int4 => (-7.0, 7.0),
            CodeType::Uint4 => (0.0, 15.0),
            CodeType::Int8 => (-127.0, 127.0),
            CodeType::Uint8 => (0.0, 255.0),
        }
    }
}

/// Quantizes f16 weights to the codes, scales and offsets of coremltools'
/// [`linear_quantize_weights`](https://apple.github.io/coremltools/docs-guides/source/opt-quantization-algos.html), bit for
/// bit: a weight is read as scale · (code − offset), rounded to f16.
///
/// coremltools computes with numpy's float16, which rounds the result of each operation, so that the codes are not those of
/// the exact quotients. A block of zeros has scale 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinearQuantize {
    /// The type of the codes.
    pub codes: CodeType,
    /// The number of consecutive values that share a scale.
    pub block: usize,
}

/// The bytes of quantized values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinearCodes {
    /// The codes. Of two that share a byte, the first is in the lower four bits.
    pub codes: Vec<u8>,
    /// The scale of each block, f16, little-endian.
    pub scales: Vec<u8>,
    /// The offset of each block, in the type of the codes; empty for signed codes.
    pub offsets: Vec<u8>,
}

/// The result in float16 of an operation that was computed in f32, as numpy's is.
fn rounded(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

impl LinearQuantize {
    /// Replaces `out` with the quantized `values`: whole blocks of finite f16 values. Codes or offsets that do not fill the last
    /// byte are followed by zero bits, so that only the last piece of a tensor may have such a number of them.
    ///
    /// # Errors
    /// [`ConvertError::CompressionRange`] for a block whose scale or offset overflows f16.
    pub fn apply(&self, span: Span<'_>, values: &[f32], out: &mut LinearCodes) -> Result<()> {
        out.codes.clear();
        out.scales.clear();
        let mut offsets = Vec::new();
        let (mut quotients, mut halves) = (vec![0.0; self.block], vec![f16::ZERO; self.block]);
        let (lowest, highest) = self.codes.range();
        for (i, block) in values.chunks_exact(self.block.max(1)).enumerate() {
            let (scale, offset) = self.scale(block).ok_or_else(|| {
                let (name, index) = (span.tensor.to_string(), span.index(i * self.block));
                ConvertError::CompressionRange { name, index, codes: self.codes.name() }
            })?;
            quotients.iter_mut().zip(block).for_each(|(quotient, value)| *quotient = value / scale);
            halves.convert_from_f32_slice(&quotients);
            halves.convert_to_f32_slice(&mut quotients);
            // A block of zeros divides zero by zero, and a NaN becomes the code 0.
            let code = |quotient: &f32| (quotient.round_ties_even() + offset).clamp(lowest, highest) as i32 as u8;
            pack_bits(quotients.iter().map(code), self.codes.bits(), &mut out.codes);
            out.scales.extend(f16::from_f32(scale).to_le_bytes());
            offsets.push(offset as u8);
        }
        out.offsets.clear();
        if self.codes.has_offset() {
            pack_bits(offsets, self.codes.bits(), &mut out.offsets);
        }
        Ok(())
    }

    /// Replaces `values` with those that a reader gets of codes.
    pub fn decode(&self, encoded: &LinearCodes, values: &mut Vec<f32>) {
        values.clear();
        for (i, scale) in encoded.scales.as_chunks().0.iter().enumerate() {
            let scale = f16::from_le_bytes(*scale).to_f32();
            let offset = if self.codes.has_offset() { self.code(&encoded.offsets, i) } else { 0.0 };
            let codes = i * self.block..(i + 1) * self.block;
            values.extend(codes.map(|at| rounded(scale * (self.code(&encoded.codes, at) - offset))));
        }
    }

    /// The code at an index of packed codes.
    fn code(&self, packed: &[u8], index: usize) -> f32 {
        let byte = |at: usize| packed.get(at).copied().unwrap_or_default();
        let nibble = || byte(index / 2) >> (index % 2 * 4) & 15;
        match self.codes {
            CodeType::Int8 => f32::from(byte(index) as i8),
            CodeType::Uint8 => f32::from(byte(index)),
            CodeType::Int4 => f32::from((nibble() << 4) as i8 >> 4),
            CodeType::Uint4 => f32::from(nibble()),
        }
    }

    /// The scale and the offset of a block, f16 values; `None` if one of them is not finite.
    fn scale(&self, block: &[f32]) -> Option<(f32, f32)> {
        let (lowest, highest) = self.codes.range();
        let (mut min, mut max) = block.iter().fold((0f32, 0f32), |(min, max), &value| (min.min(value), max.max(value)));
        if !self.codes.has_offset() {
            max = max.max(-min);
            min = -max;
        }
        let width = rounded(max - min);
        let scale = rounded(width / (highest - lowest));
        // coremltools' (lowest · max − highest · min) / width, where the lowest unsigned code is zero.
        let offset = match self.codes.has_offset() {
            true if width > 0.0 => rounded(-rounded(highest * min) / width).round_ties_even(),
            _ => 0.0,
        };
        (scale.is_finite() && offset.is_finite()).then_some((scale, offset.clamp(lowest, highest)))
    }
}

#[cfg(test)]
mod tests {
    use mert_testkit::fixture;
    use safetensors::SafeTensors;

    use super::*;

    fn quantize(codes: CodeType, block: usize, shape: &[usize], values: &[f32]) -> Result<LinearCodes> {
        // What a piece before this one has left.
        let mut out = LinearCodes { codes: vec![9], scales: vec![9], offsets: vec![9] };
        LinearQuantize { codes, block }.apply(Span { tensor: "t", shape, start: 0 }, values, &mut out)?;
        Ok(out)
    }

    /// Codes as numbers, read back by their definition.
    fn unpacked(bytes: &[u8], codes: CodeType) -> Vec<i16> {
        let nibbles = || bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        match codes {
            CodeType::Int8 => bytes.iter().map(|&byte| i16::from(byte as i8)).collect(),
            CodeType::Uint8 => bytes.iter().map(|&byte| i16::from(byte)).collect(),
            CodeType::Int4 => nibbles().map(|code| i16::from((code << 4) as i8 >> 4)).collect(),
            CodeType::Uint4 => nibbles().map(i16::from).collect(),
        }
    }

    #[test]
    fn codes_scales_and_offsets_are_those_of_coremltools() {
        let bytes = std::fs::read(fixture("coreml/compression.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let weights = file.tensor("weights").unwrap();
        let shape = weights.shape().to_vec();
        let values: Vec<f32> =
            weights.data().as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect();
        let numbers = |name: String| -> Option<Vec<i16>> {
            let tensor = file.tensor(&name).ok()?;
            Some(tensor.data().as_chunks().0.iter().map(|&number| i16::from_le_bytes(number)).collect())
        };
        for (name, codes, block) in [
            ("int8", CodeType::Int8, shape[1]),
            ("uint8", CodeType::Uint8, shape[1]),
            ("int4", CodeType::Int4, 32),
            ("uint4", CodeType::Uint4, 32),
            ("int8-16", CodeType::Int8, 16),
            ("uint4-row", CodeType::Uint4, shape[1]),
        ] {
            let found = quantize(codes, block, &shape, &values).unwrap();
            assert_eq!(Some(unpacked(&found.codes, codes)), numbers(format!("{name}.codes")), "{name}");
            assert_eq!(found.scales, file.tensor(&format!("{name}.scales")).unwrap().data(), "{name}");
            let expected = numbers(format!("{name}.offsets"));
            assert_eq!(expected.is_none(), found.offsets.is_empty(), "{name}");
            // An odd number of four-bit offsets is filled with zeros.
            let mut offsets = unpacked(&found.offsets, codes);
            let filled = offsets.split_off(values.len() / block * usize::from(codes.has_offset()));
            assert!(filled.len() <= 1 && filled.iter().all(|&bits| bits == 0), "{name}");
            assert_eq!(offsets, expected.unwrap_or_default(), "{name}");
        }
    }

    /// Half of a step, and what rounding the quotient, the scale and the result to f16 adds.
    #[test]
    fn values_are_within_half_a_step() {
        let values: Vec<f32> = (0..256).map(|i| rounded((i as f32 * 0.7).sin() * 0.2 - 0.05)).collect();
        for codes in [CodeType::Int4, CodeType::Uint4, CodeType::Int8, CodeType::Uint8] {
            let found = quantize(codes, 64, &[4, 64], &values).unwrap();
            let codes_of = unpacked(&found.codes, codes);
            let offsets = unpacked(&found.offsets, codes);
            for (i, (&value, &code)) in values.iter().zip(&codes_of).enumerate() {
                let half: [u8; 2] = found.scales[i / 64 * 2..][..2].try_into().unwrap();
                let scale = f16::from_le_bytes(half).to_f32();
                let read = scale * f32::from(code - offsets.get(i / 64).copied().unwrap_or(0));
                let step = scale * if codes.has_offset() { 1.0 } else { 0.5 };
                assert!((read - value).abs() <= step + 2e-4, "{codes:?}, {i}: {value} is read as {read}");
            }
        }
    }

    #[test]
    fn values_beyond_the_range_are_named() {
        let mut values = vec![1.0; 256];
        values[200] = 40_000.0;
        let error = quantize(CodeType::Int8, 64, &[4, 64], &values).unwrap_err();
        assert!(error.to_string().contains("`t`: the values from index [3, 0] on are too large for int8"), "{error}");
        // 255 · -300 overflows in the offset's computation, which coremltools does not notice.
        values[200] = -300.0;
        assert!(quantize(CodeType::Uint8, 64, &[4, 64], &values).is_err());
        assert!(quantize(CodeType::Int8, 64, &[4, 64], &values).is_ok());
    }
}
