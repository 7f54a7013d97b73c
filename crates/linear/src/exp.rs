//! The exponential function on vectors.

// Coefficients are written with the digits of the fit.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use mert_simd::{at_least, mul_add};
use pulp::Simd;

/// exp(x) for x ≤ 88, to 2 units in the last place plus the rounding of x·log₂e. Below −87 it stays at exp(−87), which is
/// negligible beside a softmax's largest term, 1. NaN gives NaN.
///
/// 2ⁿ·2^f with n the nearest integer and 2^f by its minimax polynomial of degree 6 on ±½; x·log₂e in two parts, so that
/// its rounding does not grow with x.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const P: [f32; 7] =
        [1.0, 6.931_471_8e-1, 2.402_264_6e-1, 5.550_328_6e-2, 9.618_489e-3, 1.339_993_1e-3, 1.534_581_1e-4];
    // Adding this puts the integer part of a small number into the low bits of the sum, and 127, the bias of the
    // exponent, with it.
    const SHIFT: f32 = 12_582_912.0 + 127.0;
    let x = at_least(simd, simd.splat_f32s(-87.0), x);
    let y = simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E));
    let shifted = simd.add_f32s(y, simd.splat_f32s(SHIFT));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(SHIFT));
    // x·log₂e − n with what log₂e lacks in f32.
    let f = mul_add(simd, x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.sub_f32s(simd.splat_f32s(0.0), n));
    let f = mul_add(simd, x, simd.splat_f32s(1.925_963e-8), f);
    let mut p = simd.splat_f32s(P[6]);
    for &coefficient in P[..6].iter().rev() {
        p = mul_add(simd, p, f, simd.splat_f32s(coefficient));
    }
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(power))
}

#[cfg(test)]
mod tests {
    use mert_simd::{Isa, Kernel};

    use super::*;

    struct All<'a>(&'a mut [f32]);

    impl Kernel for All<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            for x in S::as_mut_simd_f32s(self.0).0 {
                *x = exp(simd, *x);
            }
        }
    }

    #[test]
    fn agrees_with_f64() {
        for isa in Isa::available() {
            let x: Vec<f32> = (-87 * 512..=80 * 512).map(|i| i as f32 / 512.0).chain([0.0; 16]).collect();
            let mut y = x.clone();
            isa.run_dots(All(&mut y));
            for (x, y) in x.iter().zip(y).take(167 * 512) {
                let expected = f64::from(*x).exp();
                // Without a fused operation, the product x·log₂e is rounded to half a unit of its own size.
                let bound = 2.5e-7 + f64::from(x.abs()) * if matches!(isa, Isa::Portable) { 1.2e-7 } else { 0.0 };
                assert!((f64::from(y) - expected).abs() <= bound * expected, "{isa:?}: exp({x}) = {y:e}");
            }
            let mut odd = [f32::NAN; 16];
            isa.run_dots(All(&mut odd));
            assert!(odd.iter().all(|y| y.is_nan()));
            let mut low = [f32::NEG_INFINITY; 16];
            isa.run_dots(All(&mut low));
            assert!(low.iter().all(|&y| y < 2e-38), "{low:?}");
        }
    }
}
