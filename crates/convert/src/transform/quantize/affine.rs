//! MLX's affine quantization: a group of values as `scale · code + bias`.
//!
//! The rule is that of `quantize` in MLX's `mlx/backend/cpu/quantized.cpp`, with its order of operations, on which the last
//! bit depends. Metal's kernel differs from it: there the largest value of a group of negatives is taken as 0, and halves
//! are rounded away from zero.

use super::pack::pack;

/// The smallest size of a scale, which that of a constant group has before it is fitted to the bias.
const SMALLEST_SCALE: f32 = 1e-7;

/// The largest group size.
const MAX_GROUP: usize = 128;

/// The number of values that are compared at a time.
const LANES: usize = 8;

/// Adding this to 0 ≤ x < 2²² rounds x to an integer, ties to even, and leaves that integer in the lowest bits of the sum.
const ROUND: f32 = (1 << 23) as f32;

/// Encodes finite values in groups: the codes into `packed`, the unrounded scale and bias of each group into `sink`.
///
/// # Errors
/// The number of the first group whose scale is not finite, and the reason.
pub(super) fn quantize(
    bits: usize,
    group_size: usize,
    values: &[f32],
    packed: &mut [u8],
    sink: impl FnMut(f32, f32),
) -> Result<(), (usize, &'static str)> {
    match bits {
        2 => groups::<2>(group_size, values, packed, sink),
        3 => groups::<3>(group_size, values, packed, sink),
        4 => groups::<4>(group_size, values, packed, sink),
        5 => groups::<5>(group_size, values, packed, sink),
        6 => groups::<6>(group_size, values, packed, sink),
        _ => groups::<8>(group_size, values, packed, sink),
    }
}

fn groups<const BITS: usize>(
    group_size: usize,
    values: &[f32],
    packed: &mut [u8],
    mut sink: impl FnMut(f32, f32),
) -> Result<(), (usize, &'static str)> {
    let max_code = ((1 << BITS) - 1) as f32;
    let mut codes = [0; MAX_GROUP];
    let groups = values.chunks_exact(group_size).zip(packed.chunks_exact_mut(group_size / 8 * BITS));
    for (group, (values, packed)) in groups.enumerate() {
        let (scale, bias) = scale_and_bias(values, max_code);
        if !scale.is_finite() {
            return Err((group, "whose difference overflows f32, so that it has no scale"));
        }
        // The codes are those of the unrounded scale and bias: with the stored 16-bit ones some would differ.
        let codes = &mut codes[..values.len()];
        for (code, &value) in codes.iter_mut().zip(values) {
            *code = encode(value, scale, bias, max_code);
        }
        pack::<BITS>(codes, packed);
        sink(scale, bias);
    }
    Ok(())
}

/// The code of a value.
///
/// A group of equal values larger than 3.4e31 has a scale of zero; all of its codes are 0, and its bias is exact.
#[inline(always)]
fn encode(value: f32, scale: f32, bias: f32, max_code: f32) -> u32 {
    let steps = (value - bias) / scale;
    // The comparison takes 0 for 0/0. Clamping before rounding gives the same code as after it, as the bounds are integers.
    (smaller(larger(steps, 0.0), max_code) + ROUND).to_bits() & 0xff
}

/// The scale and bias of a group, both unrounded: the bias is the value furthest from zero, and zero is a multiple of the
/// scale away from it, so that zeros stay exact. A group of values smaller than half the smallest scale has bias 0.
fn scale_and_bias(values: &[f32], max_code: f32) -> (f32, f32) {
    let (min, max) = limits(values);
    let negative = min.abs() > max.abs();
    let size = ((max - min) / max_code).max(SMALLEST_SCALE);
    let scale = if negative { size } else { -size };
    let edge = if negative { min } else { max };
    let steps = (edge / scale).round_ties_even();
    if steps == 0.0 { (scale, 0.0) } else { (edge / steps, edge) }
}

/// The smallest and the largest of finite values, whose number is a multiple of [`LANES`].
fn limits(values: &[f32]) -> (f32, f32) {
    let (mut mins, mut maxs) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for values in values.as_chunks::<LANES>().0 {
        for ((min, max), &value) in mins.iter_mut().zip(&mut maxs).zip(values) {
            *min = smaller(value, *min);
            *max = larger(value, *max);
        }
    }
    (mins.into_iter().fold(f32::INFINITY, smaller), maxs.into_iter().fold(f32::NEG_INFINITY, larger))
}

/// The smaller of two finite values; [`f32::min`] takes more instructions, for NaN.
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger of two finite values.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
