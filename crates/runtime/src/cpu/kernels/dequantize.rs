//! Quantized panels to f32, as they enter the cache: scale · code + bias.

// Loops over constants are unrolled, so that shifts and words are constants, too.
#![allow(clippy::needless_range_loop)]

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mert_arch::{Dtype, QuantizationMode};
use pulp::{Simd, WithSimd};

use super::super::memory::{PanelGroup, QuantizedPanel};
use super::output::MAX_COLUMNS;
use crate::quantized::{ScaleType, e4m3, e8m0};

/// Decodes a panel of `VECTORS` registers of columns to `[inner step][column]`, with the instruction set that it is run
/// with. It is a function of its own: inlined into each product, it would be compiled dozens of times.
pub(super) struct Dequantize<'a, 'b, const VECTORS: usize> {
    pub(super) panel: QuantizedPanel<'a>,
    /// As many values as the panel has.
    pub(super) values: &'b mut [f32],
}

impl<const VECTORS: usize> WithSimd for Dequantize<'_, '_, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let quantization = self.panel.layout.encoding.quantization;
        match (quantization.mode, quantization.bits) {
            (QuantizationMode::Affine, 2) => self.decode::<S, Unsigned, 2, 1, 16>(simd),
            (QuantizationMode::Affine, 3) => self.decode::<S, Unsigned, 3, 3, 32>(simd),
            (QuantizationMode::Affine, 4) => self.decode::<S, Unsigned, 4, 1, 8>(simd),
            (QuantizationMode::Affine, 5) => self.decode::<S, Unsigned, 5, 5, 32>(simd),
            (QuantizationMode::Affine, 6) => self.decode::<S, Unsigned, 6, 3, 16>(simd),
            (QuantizationMode::Affine, _) => self.decode::<S, Unsigned, 8, 1, 4>(simd),
            (QuantizationMode::Mxfp8, _) => self.decode::<S, E4m3, 8, 1, 4>(simd),
            (QuantizationMode::Mxfp4 | QuantizationMode::Nvfp4, _) => self.decode::<S, E2m1, 4, 1, 8>(simd),
        }
    }
}

impl<const VECTORS: usize> Dequantize<'_, '_, VECTORS> {
    /// `CODES` codes of `BITS` bits fill `WORDS` words.
    #[inline(always)]
    fn decode<S: Simd, C: Code, const BITS: usize, const WORDS: usize, const CODES: usize>(self, simd: S) {
        let Dequantize { panel, values } = self;
        let encoding = panel.layout.encoding;
        let (values, _) = S::as_mut_simd_f32s(values);
        let groups = values.chunks_exact_mut(encoding.quantization.group_size * VECTORS);
        for (PanelGroup { scales, biases, codes }, values) in panel.groups().zip(groups) {
            let scales = widen::<S, VECTORS>(simd, encoding.scale, scales);
            let biases = (!biases.is_empty()).then(|| widen::<S, VECTORS>(simd, encoding.scale, biases));
            let (words, _) = S::as_simd_u32s(codes).0.as_chunks::<VECTORS>();
            for (words, values) in
                words.as_chunks::<WORDS>().0.iter().zip(values.as_chunks_mut::<VECTORS>().0.as_chunks_mut::<CODES>().0)
            {
                for vector in 0..VECTORS {
                    for i in 0..CODES {
                        let (word, shift) = (i * BITS / 32, i * BITS % 32);
                        let mut code = simd.wrapping_dyn_shr_u32s(words[word][vector], simd.splat_u32s(shift as u32));
                        if shift + BITS > 32 {
                            let high = simd.splat_u32s(32 - shift as u32);
                            code = simd.or_u32s(code, simd.wrapping_dyn_shl_u32s(words[word + 1][vector], high));
                        }
                        let code = simd.and_u32s(code, simd.splat_u32s((1 << BITS) - 1));
                        let value = simd.mul_f32s(scales[vector], C::value(simd, code));
                        values[i][vector] = match biases {
                            Some(biases) => simd.add_f32s(value, biases[vector]),
                            None => value,
                        };
                    }
                }
            }
        }
    }
}

/// The value that a code stands for before it is scaled.
trait Code {
    fn value<S: Simd>(simd: S, code: S::u32s) -> S::f32s;
}

/// A whole number below 2²³.
struct Unsigned;

impl Code for Unsigned {
    #[inline(always)]
    fn value<S: Simd>(simd: S, code: S::u32s) -> S::f32s {
        // The number in the low bits of 2²³ adds to it.
        let shifted = simd.transmute_f32s_u32s(simd.or_u32s(code, simd.splat_u32s(8_388_608f32.to_bits())));
        simd.sub_f32s(shifted, simd.splat_f32s(8_388_608.0))
    }
}

/// A float with a sign bit, 2 bits of exponent with bias 1 and 1 of fraction.
struct E2m1;

impl Code for E2m1 {
    #[inline(always)]
    fn value<S: Simd>(simd: S, code: S::u32s) -> S::f32s {
        small_float::<S, 1, 2, 1>(simd, code)
    }
}

/// A float with a sign bit, 4 bits of exponent with bias 7 and 3 of fraction; NaN with all of them set.
struct E4m3;

impl Code for E4m3 {
    #[inline(always)]
    fn value<S: Simd>(simd: S, code: S::u32s) -> S::f32s {
        let value = small_float::<S, 7, 4, 3>(simd, code);
        let magnitude = simd.and_u32s(code, simd.splat_u32s(0x7f));
        let is_number = simd.less_than_u32s(magnitude, simd.splat_u32s(0x7f));
        simd.select_f32s(is_number, value, simd.splat_f32s(f32::NAN))
    }
}

/// The value of a float with a sign, `EXPONENT` bits of exponent and `FRACTION` of fraction. Subnormal ones are decoded as
/// whole numbers: as subnormal f32, products with them are slow on some processors.
#[inline(always)]
fn small_float<S: Simd, const BIAS: u32, const EXPONENT: u32, const FRACTION: u32>(simd: S, code: S::u32s) -> S::f32s {
    let magnitude = simd.and_u32s(code, simd.splat_u32s((1 << (EXPONENT + FRACTION)) - 1));
    let bits = simd.wrapping_dyn_shl_u32s(magnitude, simd.splat_u32s(23 - FRACTION));
    let normal = simd.add_u32s(bits, simd.splat_u32s((127 - BIAS) << 23));
    let unit = 1.0 / (1u32 << (BIAS + FRACTION - 1)) as f32;
    let subnormal = simd.mul_f32s(Unsigned::value(simd, magnitude), simd.splat_f32s(unit));
    let is_subnormal = simd.less_than_u32s(magnitude, simd.splat_u32s(1 << FRACTION));
    let value = simd.select_u32s(is_subnormal, simd.transmute_u32s_f32s(subnormal), normal);
    let sign = simd.wrapping_dyn_shl_u32s(code, simd.splat_u32s(31 - EXPONENT - FRACTION));
    let sign = simd.and_u32s(sign, simd.splat_u32s(1 << 31));
    simd.transmute_f32s_u32s(simd.or_u32s(value, sign))
}

/// The scales, or biases, of the columns of a panel in f32.
#[inline(always)]
fn widen<S: Simd, const VECTORS: usize>(simd: S, scale: ScaleType, stored: &[u8]) -> [S::f32s; VECTORS] {
    let mut values = [0.0; MAX_COLUMNS];
    let columns = &mut values[..VECTORS * S::F32_LANES];
    match scale {
        ScaleType::Float(Dtype::F16) => bytemuck::cast_slice::<u8, f16>(stored).convert_to_f32_slice(columns),
        ScaleType::Float(Dtype::Bf16) => bytemuck::cast_slice::<u8, bf16>(stored).convert_to_f32_slice(columns),
        ScaleType::Float(Dtype::F32) => columns.copy_from_slice(bytemuck::cast_slice(stored)),
        ScaleType::E8m0 => columns.iter_mut().zip(stored).for_each(|(value, &byte)| *value = e8m0(byte)),
        ScaleType::E4m3 => columns.iter_mut().zip(stored).for_each(|(value, &byte)| *value = e4m3(byte)),
    }
    let mut vectors = [simd.splat_f32s(0.0); VECTORS];
    vectors.iter_mut().zip(S::as_simd_f32s(columns).0).for_each(|(vector, values)| *vector = *values);
    vectors
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use mert_arch::Quantization;
    use mert_simd::{Buffer, Factors, Isa, Kernel, LINE, TileShape};

    use super::super::super::arithmetic::Arithmetic;
    use super::super::super::memory::PackedWeight;
    use super::super::right_operand;
    use super::*;
    use crate::quantized::{QuantizedEncoding, QuantizedWeight};

    /// Decodes inner steps of a panel with the kernel of one instruction set.
    struct Decode<'a> {
        weight: &'a PackedWeight,
        panel: usize,
        first: usize,
        steps: usize,
    }

    impl Kernel for Decode<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Vec<f32> {
            let Decode { weight, panel, first, steps } = self;
            let part = weight.panel(panel, first, steps);
            right_operand::to_f32::<S, VECTORS>(simd, part, &mut Buffer::default()).to_vec()
        }
    }

    fn encodings() -> impl Iterator<Item = QuantizedEncoding> {
        let affine = [2, 3, 4, 5, 6, 8].into_iter().flat_map(|bits| [32, 64, 128].map(|group| (bits, group)));
        let affine = affine.map(|(bits, group)| Quantization::new(QuantizationMode::Affine, bits, group).unwrap());
        let others = QuantizationMode::ALL.into_iter().skip(1).map(|mode| mode.default_quantization());
        affine.chain(others).flat_map(|q| Dtype::ALL.map(|float| QuantizedEncoding::new(q, float)))
    }

    /// Bytes without a pattern; `as_floats` masks those that would make a 16- or 32-bit float of them large.
    fn bytes(count: usize, seed: usize, mask: Option<(usize, u8)>) -> Vec<u8> {
        let byte = |i: usize| ((i * 7919 + seed * 104_729) % 65_521 % 251) as u8;
        let masked = |i: usize| match mask {
            // The byte of a little-endian float with the sign and the upper bits of the exponent.
            Some((size, mask)) if i % size == size - 1 => byte(i) & mask,
            _ => byte(i),
        };
        (0..count).map(masked).collect()
    }

    /// Every value has the bits of the row-wise decoder, which has been compared with MLX: on each instruction set and tile,
    /// for parts of panels from any group on, with columns that do not fill the last panel.
    #[test]
    fn panels_have_the_values_of_rows() {
        let (outputs, inputs) = (53, 384);
        for encoding in encodings() {
            let quantization = encoding.quantization;
            let groups = outputs * quantization.groups(inputs);
            let floats = match encoding.scale {
                ScaleType::Float(dtype) => Some((dtype.size(), 0xbf)),
                _ => None,
            };
            let scales = bytes(groups * encoding.scale.size(), 2, floats);
            let biases = bytes(if quantization.has_biases() { scales.len() } else { 0 }, 3, floats);
            let words = bytes(outputs * quantization.packed_columns(inputs) * 4, 1, None);
            let weight = QuantizedWeight { encoding, outputs, inputs, words: &words, scales: &scales, biases: &biases };
            let expected = weight.values();
            let bias = Tensor::zeros(outputs, candle_core::DType::F32, &Device::Cpu).unwrap();
            for (isa, shape) in
                Isa::available().into_iter().flat_map(|isa| [(isa, TileShape::Square), (isa, TileShape::Wide)])
            {
                let tile = isa.tile(shape);
                let packed =
                    PackedWeight::pack_quantized(Arithmetic::new(isa, Factors::F32), tile, &weight, &bias).unwrap();
                let multiple = quantization.group_size.next_multiple_of(LINE);
                for panel in 0..outputs.div_ceil(tile.columns) {
                    for (first, steps) in [(0, inputs), (multiple, multiple), (inputs - multiple, multiple)] {
                        let found = isa.run(shape, Decode { weight: &packed, panel, first, steps });
                        assert_eq!(found.len(), steps * tile.columns);
                        for (i, found) in found.into_iter().enumerate() {
                            let (step, output) = (first + i / tile.columns, panel * tile.columns + i % tile.columns);
                            let expected = if output < outputs { expected[output * inputs + step] } else { 0.0 };
                            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                            assert!(
                                same,
                                "{quantization}, {isa:?}: {found} at ({output}, {step}), expected {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
