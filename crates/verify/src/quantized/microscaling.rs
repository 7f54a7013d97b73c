//! MLX's floating-point modes, mxfp4, mxfp8 and nvfp4, after `fp_quantize` in
//! [`mlx/ops.cpp`](https://github.com/ml-explore/mlx/blob/main/mlx/ops.cpp) as of release 0.32.4: a group of values is stored as
//! small floating-point numbers that share a scale. Arithmetic is in the type of the weights, apart from the exponent of a scale,
//! which release 0.32.4 rounds up from the exact logarithm.

use mert_arch::{Dtype, QuantizationMode};

use super::round::{round_to, round_to_e4m3};

/// The numbers of E2M1 without their sign, in the order of their codes.
pub(super) const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// Replaces the values of a group by those that its codes stand for.
pub(super) fn quantize_group(group: &mut [f32], mode: QuantizationMode, float: Dtype) {
    quantize(group, mode, float, f64::ceil);
}

/// As [`quantize_group`], with the shared exponent rounded to nearest, as releases of MLX after 0.32.4 do.
pub(super) fn quantize_group_with_nearest_exponent(group: &mut [f32], mode: QuantizationMode, float: Dtype) {
    quantize(group, mode, float, f64::round_ties_even);
}

fn quantize(group: &mut [f32], mode: QuantizationMode, float: Dtype, round_exponent: fn(f64) -> f64) {
    let largest = group.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let four_bits = mode != QuantizationMode::Mxfp8;
    let ratio = round_to(float, largest / if four_bits { 6.0 } else { 448.0 });
    // The scale that is stored, and the one that divides, which must fit the type of the weights.
    let (scale, divisor) = if mode == QuantizationMode::Nvfp4 {
        let scale = round_to_e4m3(ratio);
        (scale, scale)
    } else {
        let exponent = if ratio == 0.0 { 0.0 } else { round_exponent(f64::from(ratio).log2()) };
        let scale = 2f64.powf(exponent) as f32;
        (scale, round_to(float, scale))
    };
    for value in group {
        let scaled = round_to(float, *value / divisor);
        *value = scale * if four_bits { nearest_e2m1(scaled, float) } else { round_to_e4m3(scaled) };
    }
}

/// The number of E2M1 that is nearest in the arithmetic of the weights; of two, the one with the lower code, where the
/// negative numbers follow the positive ones. A value divided by a scale of zero becomes zero.
fn nearest_e2m1(value: f32, float: Dtype) -> f32 {
    let mut nearest = (0.0, f32::INFINITY);
    for sign in [1.0, -1.0] {
        for magnitude in E2M1 {
            let distance = round_to(float, (value - sign * magnitude).abs());
            if distance < nearest.1 {
                nearest = (sign * magnitude, distance);
            }
        }
    }
    nearest.0
}
