//! The narrowing of f64 to a shorter type with a single rounding, although values pass through f32.

use mert_arch::Dtype;

/// An f32 whose [`Cast`](super::Cast) to `to` equals a single rounding of the f64 to `to`.
///
/// Rounding to f32 and then to 16 bits rounds twice: 1 + 2^-11 + 2^-40 lies above a tie of f16, but is on it once it is
/// an f32. Rounding to odd instead (of the two neighbours of an inexact value, the one whose last bit is 1) keeps a
/// value on its side of every tie, because f32 has at least two bits more than either type, including their subnormals
/// (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Comp. 2008).
pub fn narrow(value: f64, to: Dtype) -> f32 {
    if to == Dtype::F32 { value as f32 } else { round_to_odd(value) }
}

/// Rounds to odd: of the two neighbours of an inexact value, to the one whose last bit is 1.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back == value || !value.is_finite() {
        return nearest;
    }
    // Round towards zero, then to odd. If a finite value overflows, the result is the largest f32, which is odd.
    let towards_zero = nearest.to_bits() - u32::from(back.abs() > value.abs());
    f32::from_bits(towards_zero | 1)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;

    /// Round to nearest even by definition, for a type with `p` bits of precision and smallest normal exponent `emin`.
    /// Scaling by a power of two and rounding an f64 to an integer are both exact.
    fn nearest_even(value: f64, p: i32, emin: i32) -> f64 {
        if value == 0.0 {
            return value;
        }
        let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(emin);
        let ulp = 2f64.powi(exponent - p + 1);
        (value / ulp).round_ties_even() * ulp
    }

    fn check(value: f64) {
        let f16_once = nearest_even(value, 11, -14);
        if f16_once.abs() < 65520.0 {
            assert_eq!(f16::from_f32(narrow(value, Dtype::F16)).to_f64().to_bits(), f16_once.to_bits(), "{value:e}");
        } else {
            assert!(f16::from_f32(narrow(value, Dtype::F16)).is_infinite(), "{value:e}");
        }
        let bf16_once = nearest_even(value, 8, -126);
        if bf16_once.abs() < 3.39e38 {
            assert_eq!(bf16::from_f32(narrow(value, Dtype::Bf16)).to_f64().to_bits(), bf16_once.to_bits(), "{value:e}");
        } else {
            assert!(bf16::from_f32(narrow(value, Dtype::Bf16)).is_infinite(), "{value:e}");
        }
        let f32_once = nearest_even(value, 24, -126);
        if f32_once.abs() <= f64::from(f32::MAX) {
            assert_eq!(f64::from(narrow(value, Dtype::F32)).to_bits(), f32_once.to_bits(), "{value:e}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// The values lie on, just below and just above ties of all three types, in every binade.
        #[test]
        fn one_rounding(negative in any::<bool>(), exponent in -160i32..129, top in any::<u64>(), kind in 0..4, below in 0u32..52) {
            let fraction = match kind {
                0 => top >> 12,
                // A tie of some precision, exact or off by one in a lower bit.
                1 => (top >> 12 >> (52 - below.max(1)) << (52 - below.max(1))) | 1 << (51 - below),
                2 => ((top >> 12 >> 42 << 42) | 1 << 41) + 1,
                _ => ((top >> 12 >> 45 << 45) | 1 << 44) - 1,
            } & ((1 << 52) - 1);
            let bits = u64::from(negative) << 63 | ((exponent + 1023) as u64) << 52 | fraction;
            check(f64::from_bits(bits));
        }
    }

    #[test]
    fn two_roundings_would_be_wrong() {
        let tie = 1.0 + 2f64.powi(-11);
        let above = tie + 2f64.powi(-40);
        assert_eq!(f16::from_f32(above as f32), f16::ONE, "rounding twice must differ in this case");
        assert_eq!(f16::from_f32(narrow(above, Dtype::F16)).to_f64(), 1.0 + 2f64.powi(-10));
        assert_eq!(f16::from_f32(narrow(tie, Dtype::F16)), f16::ONE);
        let above = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(bf16::from_f32(above as f32), bf16::ONE, "rounding twice must differ in this case");
        assert_eq!(bf16::from_f32(narrow(above, Dtype::Bf16)).to_f64(), 1.0 + 2f64.powi(-7));
        for value in [65519.999999999, 65520.0, 1e300, -1e300, 5e-324, 2f64.powi(-25), 2f64.powi(-25) + 2f64.powi(-70)]
        {
            check(value);
        }
        assert!(narrow(f64::NAN, Dtype::F16).is_nan());
        assert!(narrow(f64::NEG_INFINITY, Dtype::F16).is_infinite());
    }
}
