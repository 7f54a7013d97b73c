//! Elementary functions on vectors of f32, with their errors against f64.

// Coefficients are written with the digits of the fit.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use mert_arch::Activation;
use mert_simd::{Factors, Isa, Kernel, TileShape, at_least, mul_add};
use pulp::Simd;

/// Applies `activation` to each value with the kernel compiled for `isa`.
pub(crate) fn activate_all(isa: Isa, activation: Activation, values: &mut [f32]) {
    struct Activate<'a>(Activation, &'a mut [f32]);
    impl Kernel for Activate<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            activate(simd, self.0, Accuracy::F32, self.1);
        }
    }
    isa.run(TileShape::Square, Activate(activation, values));
}

/// The accuracy of an elementary function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accuracy {
    /// That of f32, to a few units in the last place.
    F32,
    /// A tenth of what rounding to bf16 changes or less, in half the operations.
    Bf16,
}

impl Accuracy {
    /// The accuracy that results of products of these numbers need.
    pub(crate) const fn of(factors: Factors) -> Self {
        match factors {
            Factors::F32 => Accuracy::F32,
            Factors::Bf16 | Factors::Int8 => Accuracy::Bf16,
        }
    }
}

/// Applies `activation` to each value.
#[inline(always)]
pub(crate) fn activate<S: Simd>(simd: S, activation: Activation, accuracy: Accuracy, values: &mut [f32]) {
    match activation {
        Activation::Gelu if accuracy == Accuracy::Bf16 => map::<S, ShortGelu>(simd, values),
        Activation::Gelu => map::<S, Gelu>(simd, values),
        Activation::GeluTanh => map::<S, GeluTanh>(simd, values),
        Activation::Relu => map::<S, Relu>(simd, values),
    }
}

/// A function of one vector. It is a trait because a closure cannot be forced inline, and so would not be compiled for
/// the instruction set of its caller.
trait Elementwise {
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s;
}

#[inline(always)]
fn map<S: Simd, F: Elementwise>(simd: S, values: &mut [f32]) {
    let (vectors, rest) = S::as_mut_simd_f32s(values);
    for x in vectors {
        *x = F::apply(simd, *x);
    }
    if !rest.is_empty() {
        let x = F::apply(simd, simd.partial_load_f32s(rest));
        simd.partial_store_f32s(rest, x);
    }
}

/// GELU, x·Φ(x), as x·(½ + x·P(x²)), with x clamped to ±5.4 in the parentheses, where Φ is 0 or 1 to f32.
///
/// P is the minimax polynomial of degree 14 (least squares with Lawson's weights, in f64) in
/// t = 2x²/5.4² − 1, for which its coefficients are small: the error is below 1.6e-7·max(1, |x|).
struct Gelu;

impl Elementwise for Gelu {
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
        gelu(simd, x, LIMIT, &P)
    }
}

/// GELU as [`Gelu`] has it with a polynomial of degree 7 and x clamped to ±4.2: the error is below 6e-5·max(1, |x|), a
/// thirtieth of what rounding to bf16 changes in a value of 1.
struct ShortGelu;

impl Elementwise for ShortGelu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        const LIMIT: f32 = 4.2;
        const P: [f32; 8] = [
            0.167_847_72,
            -0.081_540_591,
            0.056_142_706,
            -0.038_335_836,
            0.023_036_54,
            -0.015_251_967,
            0.011_840_289,
            -0.004_701_896_2,
        ];
        gelu(simd, x, LIMIT, &P)
    }
}

/// The value x·(½ + x·P(2x²/limit² − 1)), with x clamped to ±limit in the parentheses.
#[inline(always)]
fn gelu<S: Simd, const N: usize>(simd: S, x: S::f32s, limit: f32, p: &[f32; N]) -> S::f32s {
    let clamped = at_least(simd, simd.splat_f32s(-limit), simd.min_f32s(simd.splat_f32s(limit), x));
    let t =
        mul_add(simd, simd.mul_f32s(clamped, clamped), simd.splat_f32s(2.0 / (limit * limit)), simd.splat_f32s(-1.0));
    let p = polynomial(simd, p, t);
    simd.mul_f32s(x, mul_add(simd, clamped, p, simd.splat_f32s(0.5)))
}

/// The tanh approximation of GELU, ½·x·(1 + tanh z) with z = √(2/π)·(x + 0.044715·x³), as x / (1 + exp(−2z)).
struct GeluTanh;

impl Elementwise for GeluTanh {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        const MINUS_2_SQRT_2_OVER_PI: f32 = -1.595_769_1;
        // exp of more than this overflows; at −12 the true value is below f32's smallest.
        let clamped = at_least(simd, simd.splat_f32s(-12.0), simd.min_f32s(simd.splat_f32s(12.0), x));
        let square = simd.mul_f32s(clamped, clamped);
        let inner = mul_add(simd, square, simd.splat_f32s(0.044_715), simd.splat_f32s(1.0));
        let exponent = simd.mul_f32s(simd.mul_f32s(clamped, inner), simd.splat_f32s(MINUS_2_SQRT_2_OVER_PI));
        let exponent = simd.min_f32s(simd.splat_f32s(87.0), exponent);
        simd.div_f32s(x, simd.add_f32s(simd.splat_f32s(1.0), exp_scaled(simd, exponent, 1.0)))
    }
}

/// max(x, 0).
struct Relu;

impl Elementwise for Relu {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        at_least(simd, simd.splat_f32s(0.0), x)
    }
}

/// exp(x·scale) for x·scale ≤ 88, to 2 units in the last place plus the rounding of x·scale. Below −87 it stays at
/// exp(−87), which is negligible beside a softmax's largest term, 1. NaN gives NaN.
///
/// 2ⁿ·2^f with n the nearest integer and 2^f by its minimax polynomial of degree 6 on ±½.
#[inline(always)]
pub(crate) fn exp_scaled<S: Simd>(simd: S, x: S::f32s, scale: f32) -> S::f32s {
    const P: [f32; 7] =
        [1.0, 6.931_471_8e-1, 2.402_264_6e-1, 5.550_328_6e-2, 9.618_489e-3, 1.339_993_1e-3, 1.534_581_1e-4];
    exp_with(simd, x, scale, &P)
}

/// The value of [`exp_scaled`] to 7.5e-5 of itself, with a polynomial of degree 3.
#[inline(always)]
pub(crate) fn short_exp_scaled<S: Simd>(simd: S, x: S::f32s, scale: f32) -> S::f32s {
    exp_with(simd, x, scale, &[0.999_928_06, 0.693_261_02, 0.242_611_36, 0.055_171_552])
}

/// The value 2ⁿ·p(f) for x·scale·log₂e = n + f.
#[inline(always)]
fn exp_with<S: Simd, const N: usize>(simd: S, x: S::f32s, scale: f32, p: &[f32; N]) -> S::f32s {
    // Adding this puts the integer part of a small number into the low bits of the sum, and 127, the
    // bias of the exponent, with it.
    const SHIFT: f32 = 12_582_912.0 + 127.0;
    let y = simd.mul_f32s(x, simd.splat_f32s(scale * std::f32::consts::LOG2_E));
    let y = at_least(simd, simd.splat_f32s(-125.5), y);
    let shifted = simd.add_f32s(y, simd.splat_f32s(SHIFT));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(SHIFT));
    let p = polynomial(simd, p, simd.sub_f32s(y, n));
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(power))
}

/// A polynomial by Horner's rule; the constant term is the first coefficient.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: &[f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[N - 1]);
    for i in (0..N - 1).rev() {
        sum = mul_add(simd, sum, x, simd.splat_f32s(coefficients[i]));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Function {
        Activation(Activation, Accuracy),
        Exp,
        ShortExp,
    }

    struct ExpOfEighth;

    impl Elementwise for ExpOfEighth {
        #[inline(always)]
        fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
            exp_scaled(simd, x, 0.125)
        }
    }

    struct ShortExpOfEighth;

    impl Elementwise for ShortExpOfEighth {
        #[inline(always)]
        fn apply<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
            short_exp_scaled(simd, x, 0.125)
        }
    }

    struct Apply<'a>(Function, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            match self.0 {
                Function::Activation(activation, accuracy) => activate(simd, activation, accuracy, self.1),
                Function::ShortExp => map::<S, ShortExpOfEighth>(simd, self.1),
                Function::Exp => map::<S, ExpOfEighth>(simd, self.1),
            }
        }
    }

    /// The values of `range` in steps of 1/1024, in a number that fills no register exactly, each with its function
    /// value.
    fn apply(isa: Isa, range: std::ops::Range<i32>, function: Function) -> Vec<(f64, f64)> {
        let x: Vec<f32> = (range.start * 1024..range.end * 1024 + 1).map(|i| i as f32 / 1024.0).collect();
        let mut y = x.clone();
        isa.run(TileShape::Square, Apply(function, &mut y));
        x.into_iter().zip(y).map(|(x, y)| (f64::from(x), f64::from(y))).collect()
    }

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
    fn gelu_is_the_erf_form() {
        for isa in Isa::available() {
            for (accuracy, bound) in [(Accuracy::F32, 1.6e-7), (Accuracy::Bf16, 6e-5)] {
                for (x, y) in apply(isa, -9..9, Function::Activation(Activation::Gelu, accuracy)) {
                    let expected = match x {
                        x if x < -5.6 => 0.0,
                        x if x > 5.6 => x,
                        x => x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
                    };
                    assert!(
                        (y - expected).abs() <= bound * x.abs().max(1.0),
                        "{isa:?}: gelu({x}) = {y}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn gelu_tanh_is_the_tanh_form() {
        for isa in Isa::available() {
            for (x, y) in apply(isa, -30..30, Function::Activation(Activation::GeluTanh, Accuracy::F32)) {
                let z = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                let expected = 0.5 * x * (1.0 + z.tanh());
                assert!((y - expected).abs() <= 3e-7 * x.abs().max(1.0), "{isa:?}: gelu({x}) = {y}, not {expected}");
            }
        }
    }

    #[test]
    fn relu_is_exact() {
        for (x, y) in apply(Isa::detect(), -2..2, Function::Activation(Activation::Relu, Accuracy::F32)) {
            assert_eq!(y, x.max(0.0));
        }
    }

    #[test]
    fn exp_is_accurate_to_the_last_places() {
        for isa in Isa::available() {
            for (x, y) in apply(isa, -690..1, Function::Exp) {
                let expected = (x * 0.125).exp();
                // The product x·scale·log₂e is off by half a unit of its own size.
                let bound = 2.5e-7 + x.abs() * 0.125 * 1.2e-7;
                assert!((y - expected).abs() <= bound * expected, "{isa:?}: exp({x} / 8) = {y:e}, not {expected:e}");
            }
        }
    }

    #[test]
    fn the_short_exp_is_accurate_to_its_bound() {
        for isa in Isa::available() {
            for (x, y) in apply(isa, -690..1, Function::ShortExp) {
                let expected = (x * 0.125).exp();
                let bound = 7.6e-5 + x.abs() * 0.125 * 1.2e-7;
                assert!((y - expected).abs() <= bound * expected, "{isa:?}: exp({x} / 8) = {y:e}, not {expected:e}");
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        for isa in Isa::available() {
            let activations = [Activation::Gelu, Activation::GeluTanh, Activation::Relu];
            for (activation, accuracy) in
                activations.into_iter().flat_map(|a| [(a, Accuracy::F32), (a, Accuracy::Bf16)])
            {
                let mut values = [f32::NAN; 3];
                isa.run(TileShape::Square, Apply(Function::Activation(activation, accuracy), &mut values));
                assert!(values.iter().all(|v| v.is_nan()), "{isa:?} {activation:?}: {values:?}");
            }
            let mut values = [f32::NAN; 17];
            isa.run(TileShape::Square, Apply(Function::Exp, &mut values));
            assert!(values.iter().all(|v| v.is_nan()), "{isa:?} exp: {values:?}");
            let mut far = [-1e30, f32::NEG_INFINITY];
            isa.run(TileShape::Square, Apply(Function::Exp, &mut far));
            assert!(far.iter().all(|&v| v < 1e-37), "{far:?}");
        }
    }
}
