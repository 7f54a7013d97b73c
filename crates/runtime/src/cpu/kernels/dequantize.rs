//! Quantized panels to f32, as they enter the cache: scale · code + bias.

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

/// A float with a sign bit, 4 bits of exponent with bias 7 and 3 of fraction.
struct E4m3;

impl Code for E4m3 {
    #[inline(always)]
    fn value<S: Simd>(simd: S, code: S::u32s) -> S::f32s {
        small_float::<S, 7, 4, 3>(simd, code)
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
