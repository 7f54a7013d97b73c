//! GELU in its exact form, with the error function.

// Coefficients are written with the digits of the fit.
#![allow(clippy::excessive_precision)]

use mert_simd::{Isa, Kernel, at_least, mul_add};
use pulp::Simd;

/// Replaces each value by GELU, x·Φ(x) with Φ the normal distribution function
/// ([Hendrycks and Gimpel 2016](https://arxiv.org/abs/1606.08415)), to 1.6e-7·max(1, |x|).
pub fn gelu(isa: Isa, values: &mut [f32]) {
    isa.run_dots(Gelu(values));
}

struct Gelu<'a>(&'a mut [f32]);

impl Kernel for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.0);
        for x in vectors {
            *x = apply(simd, *x);
        }
        if !rest.is_empty() {
            let x = apply(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, x);
        }
    }
}

/// x·(½ + x·P(x²)), with x clamped to ±5.4 in the parentheses, where Φ is 0 or 1 to f32. P is the minimax polynomial of
/// degree 14 in t = 2x²/5.4² − 1, for which its coefficients are small.
#[inline(always)]
fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const LIMIT: f32 = 5.4;
    const P: [f32; 15] = [
        1.309_281_1e-1,
        -6.532_799e-2,
        4.849_940_2e-2,
        -3.920_932_5e-2,
        3.212_102_9e-2,
        -2.572_182_8e-2,
        1.960_878_6e-2,
        -1.406_482_9e-2,
        9.786_758e-3,
        -6.515_197e-3,
        3.408_044_8e-3,
        -1.373_294e-3,
        1.099_287_5e-3,
        -9.620_16e-4,
        3.156_384_6e-4,
    ];
    let clamped = at_least(simd, simd.splat_f32s(-LIMIT), simd.min_f32s(simd.splat_f32s(LIMIT), x));
    let square = simd.mul_f32s(clamped, clamped);
    let t = mul_add(simd, square, simd.splat_f32s(2.0 / (LIMIT * LIMIT)), simd.splat_f32s(-1.0));
    let mut p = simd.splat_f32s(P[14]);
    for &coefficient in P[..14].iter().rev() {
        p = mul_add(simd, p, t, simd.splat_f32s(coefficient));
    }
    simd.mul_f32s(x, mul_add(simd, clamped, p, simd.splat_f32s(0.5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Taylor series: exact to f64 where it is used, |x| ≤ 4.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn agrees_with_the_error_function_in_f64() {
        for isa in Isa::available() {
            let x: Vec<f32> = (-9 * 1024..=9 * 1024).map(|i| i as f32 / 1024.0).collect();
            let mut y = x.clone();
            gelu(isa, &mut y);
            for (x, y) in x.into_iter().map(f64::from).zip(y) {
                let expected = match x {
                    x if x < -5.6 => 0.0,
                    x if x > 5.6 => x,
                    x => x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
                };
                let error = (f64::from(y) - expected).abs();
                assert!(error <= 1.6e-7 * x.abs().max(1.0), "{isa:?}: gelu({x}) = {y}, not {expected}");
            }
            let mut values = [f32::NAN; 3];
            gelu(isa, &mut values);
            assert!(values.iter().all(|v| v.is_nan()));
        }
    }
}
