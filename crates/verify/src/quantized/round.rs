//! Rounding to the element types of MLX: f16 and bf16 for scales and biases, E4M3 for the codes and scales of its
//! floating-point modes.

use half::{bf16, f16};
use mert_arch::Dtype;

/// Rounds a number to an element type, to nearest with ties to even.
pub(super) fn round_to(float: Dtype, value: f32) -> f32 {
    match float {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::Bf16 => bf16::from_f32(value).to_f32(),
        Dtype::F32 => value,
    }
}

/// The number that an E4M3 byte stands for: 4 bits of exponent with bias 7, 3 of fraction, no infinities
/// ([OCP 8-bit floating point](https://www.opencompute.org/documents/ocp-8-bit-floating-point-specification-ofp8-revision-1-0-2023-12-01-pdf-1)).
pub(super) fn e4m3(byte: u8) -> f32 {
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction / 8.0 * 2f32.powi(-6),
        _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The nearest number that E4M3 holds, ties to even; one beyond its range becomes the largest, ±448.
pub(super) fn round_to_e4m3(value: f32) -> f32 {
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return value;
    }
    // Below 2^-6 numbers are 2^-9 apart; above, 3 bits of fraction follow the leading one.
    let exponent = if magnitude < 2f32.powi(-6) { -6 } else { exponent_of(magnitude) };
    let step = 2f64.powi(exponent - 3);
    let rounded = (f64::from(magnitude) / step).round_ties_even() * step;
    (rounded.min(448.0) as f32).copysign(value)
}

/// ⌊log₂ x⌋ of a normal number.
fn exponent_of(magnitude: f32) -> i32 {
    (magnitude.to_bits() >> 23) as i32 - 127
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_e4m3_number_rounds_to_itself_and_midpoints_to_even() {
        let mut numbers: Vec<(u8, f32)> = (0..0x7f).map(|byte| (byte, e4m3(byte))).collect();
        numbers.sort_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!((numbers[0].1, numbers[1].1, numbers[126].1), (0.0, 2f32.powi(-9), 448.0));
        for pair in numbers.windows(2) {
            let [(below, low), (above, high)] = pair else { unreachable!() };
            assert_eq!((round_to_e4m3(*low), round_to_e4m3(-low)), (*low, -low));
            let even = if below % 2 == 0 { low } else { high };
            assert_eq!(above - below, 1);
            assert_eq!(round_to_e4m3((low + high) / 2.0), *even);
        }
        assert_eq!(round_to_e4m3(f32::INFINITY), 448.0);
        assert!(e4m3(0x7f).is_nan());
    }
}
