//! The modes of MLX with 8-bit scales and codes that are small floats: `mxfp4`, `mxfp8` and `nvfp4`.
//!
//! The rule is that of `fp_quantize` in MLX's `mlx/ops.cpp`, which computes in the type of the weight. It has changed between
//! releases: 0.32.4 rounds the exponent of a power-of-two scale up, the main branch of August 2026 to the nearest.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mert_arch::{Dtype, QuantizationMode};

use super::pack::pack;

/// The largest group size.
const MAX_GROUP: usize = 32;

/// The largest value of a 4-bit code (E2M1).
const E2M1_MAX: f32 = 6.0;

/// The largest value of an 8-bit code (E4M3).
const E4M3_MAX: f32 = 448.0;

/// Encodes finite values in groups: the codes into `packed`, the byte of each group's scale into `scales`.
///
/// # Errors
/// The number of the first group with a scale that 8 bits cannot hold, where MLX stores another one, and the reason.
pub(super) fn quantize(
    mode: QuantizationMode,
    float: Dtype,
    values: &[f32],
    packed: &mut [u8],
    scales: &mut Vec<u8>,
) -> Result<(), (usize, &'static str)> {
    let group_size = mode.default_quantization().group_size;
    let bits = mode.default_quantization().bits;
    let mut codes = [0; MAX_GROUP];
    let mut steps = [0.0; MAX_GROUP];
    let groups = values.chunks_exact(group_size).zip(packed.chunks_exact_mut(group_size / 8 * bits));
    for (group, (values, packed)) in groups.enumerate() {
        let (codes, steps) = (&mut codes[..group_size], &mut steps[..group_size]);
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let (byte, scale) = match mode {
            QuantizationMode::Nvfp4 => e4m3_scale(float, largest / E2M1_MAX),
            QuantizationMode::Mxfp8 => e8m0_scale(float, largest / E4M3_MAX),
            _ => e8m0_scale(float, largest / E2M1_MAX),
        }
        .map_err(|reason| (group, reason))?;
        scales.push(byte);
        steps.iter_mut().zip(values).for_each(|(step, value)| *step = value / scale);
        if bits == 8 {
            codes.iter_mut().zip(&*steps).for_each(|(code, &step)| *code = e4m3(step));
            pack::<8>(codes, packed);
        } else {
            // A quotient by a power of two is exact, or too small to matter.
            if mode == QuantizationMode::Nvfp4 {
                round_all(float, steps);
            }
            codes.iter_mut().zip(&*steps).for_each(|(code, &step)| *code = e2m1(step));
            pack::<4>(codes, packed);
        }
    }
    Ok(())
}

/// The byte and the value of the smallest power of two that is not below a scale. A scale of zero becomes 1.
fn e8m0_scale(float: Dtype, scale: f32) -> Result<(u8, f32), &'static str> {
    const FRACTION_BITS: u32 = 23;
    // MLX takes the logarithm of subnormal numbers, and stores a byte that has wrapped around.
    if scale.is_subnormal() {
        return Err("whose scale is a subnormal number, which this mode cannot store");
    }
    match round(float, scale).to_bits() {
        0 => Ok((127, 1.0)),
        bits => {
            // Both exponents count from -127.
            let byte = (bits >> FRACTION_BITS) + u32::from(bits & ((1 << FRACTION_BITS) - 1) != 0);
            Ok((byte as u8, f32::from_bits(byte << FRACTION_BITS)))
        }
    }
}

/// The byte and the value of the scale nearest to an exact one, as an E4M3 float. A group with scale 0 has codes of 0.
fn e4m3_scale(float: Dtype, scale: f32) -> Result<(u8, f32), &'static str> {
    // Beyond it, MLX stores 448 and clips the group, or turns it into zeros.
    if scale > E4M3_MAX {
        return Err("which needs a scale above 448, the largest of this mode");
    }
    let byte = e4m3(round(float, scale)) as u8;
    let value = e4m3_value(byte);
    Ok((byte, if value == 0.0 { f32::INFINITY } else { value }))
}

/// The value of the E4M3 float in a byte without a sign: 4 bits of exponent with a bias of 7, then 3 of fraction.
pub(super) fn e4m3_value(byte: u8) -> f32 {
    let (exponent, fraction) = (i32::from(byte >> 3), f32::from(byte & 7));
    if exponent == 0 { fraction / 512.0 } else { (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7) }
}

/// The value of an E2M1 code: a sign, 2 bits of exponent and one of fraction.
pub(super) fn e2m1_value(code: u8) -> f32 {
    let size = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(code & 7)];
    if code & 8 == 0 { size } else { -size }
}

/// The E2M1 code nearest to a finite value: of the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6 the smaller one on a tie, and the
/// sign in the highest bit, except for zero.
#[inline(always)]
pub(super) fn e2m1(value: f32) -> u32 {
    let size = value.abs();
    let thresholds = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
    let code = thresholds.iter().fold(0, |code, &threshold| code + u32::from(size > threshold));
    let sign = u32::from(value < 0.0 && code > 0);
    code | sign << 3
}

/// The E4M3 code nearest to a finite value, ties to even, and ±448 for values beyond it.
#[inline(always)]
fn e4m3(value: f32) -> u32 {
    const FRACTION: u32 = 20;
    let sign = value.to_bits() >> 31;
    let size = value.abs();
    // Below 2^-6 codes are multiples of 2^-9: adding 2^14 leaves that multiple in the lowest bits of the sum.
    let subnormal = (size + 16384.0).to_bits() - 16384f32.to_bits();
    // Above it, the exponent is counted from -7, and the fraction is rounded to 3 bits.
    let bits = size.to_bits();
    let odd = bits >> FRACTION & 1;
    let normal = bits.wrapping_sub(120 << 23).wrapping_add((1 << (FRACTION - 1)) - 1 + odd) >> FRACTION;
    let code = if size < 0.015625 { subnormal } else { normal };
    let code = if size >= E4M3_MAX { 0x7e } else { code };
    code | sign << 7
}

/// A value rounded to a float type.
fn round(float: Dtype, value: f32) -> f32 {
    match float {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::Bf16 => bf16::from_f32(value).to_f32(),
        Dtype::F32 => value,
    }
}

/// Rounds the values of a group to a float type.
fn round_all(float: Dtype, values: &mut [f32]) {
    match float {
        Dtype::F16 => {
            let mut halves = [f16::ZERO; MAX_GROUP];
            let halves = &mut halves[..values.len()];
            halves.convert_from_f32_slice(values);
            halves.convert_to_f32_slice(values);
        }
        Dtype::Bf16 => {
            let mut halves = [bf16::ZERO; MAX_GROUP];
            let halves = &mut halves[..values.len()];
            halves.convert_from_f32_slice(values);
            halves.convert_to_f32_slice(values);
        }
        Dtype::F32 => {}
    }
}
