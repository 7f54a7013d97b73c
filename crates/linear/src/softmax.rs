//! The softmax of one row.

use mert_simd::{Isa, Kernel};
use pulp::Simd;

use crate::exp::exp;

/// Replaces the values of a row by exp(x − max) / Σ exp(x − max). An empty row stays empty.
pub fn softmax(isa: Isa, row: &mut [f32]) {
    let sum = exponentials(isa, row);
    let factor = 1.0 / sum;
    row.iter_mut().for_each(|x| *x *= factor);
}

/// Replaces the values of a row by exp(x − max) and returns their sum.
pub(crate) fn exponentials(isa: Isa, row: &mut [f32]) -> f32 {
    isa.run_dots(Exponentials(row))
}

struct Exponentials<'a>(&'a mut [f32]);

impl Kernel for Exponentials<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f32 {
        exponentials_with(simd, self.0)
    }
}

/// [`exponentials`] inside another kernel.
#[inline(always)]
pub(crate) fn exponentials_with<S: Simd>(simd: S, row: &mut [f32]) -> f32 {
    let (vectors, rest) = S::as_mut_simd_f32s(row);
    let mut maxima = simd.splat_f32s(f32::NEG_INFINITY);
    for &x in vectors.iter() {
        maxima = simd.max_f32s(maxima, x);
    }
    let max = rest.iter().fold(simd.reduce_max_f32s(maxima), |max, &x| max.max(x));
    let max = simd.splat_f32s(max);
    let mut sums = simd.splat_f32s(0.0);
    for x in vectors.iter_mut() {
        *x = exp(simd, simd.sub_f32s(*x, max));
        sums = simd.add_f32s(sums, *x);
    }
    let mut sum = simd.reduce_sum_f32s(sums);
    if !rest.is_empty() {
        let x = exp(simd, simd.sub_f32s(simd.partial_load_f32s(rest), max));
        simd.partial_store_f32s(rest, x);
        sum = rest.iter().fold(sum, |sum, x| sum + x);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_f64() {
        for isa in Isa::available() {
            for len in [0, 1, 3, 15, 16, 17, 250] {
                let x: Vec<f32> = (0..len).map(|i| ((i * 37) % 101) as f32 / 7.0 - 3.0).collect();
                let mut y = x.clone();
                softmax(isa, &mut y);
                let exps: Vec<f64> = x.iter().map(|&x| f64::from(x - 10.0).exp()).collect();
                let sum: f64 = exps.iter().sum();
                for (y, exp) in y.iter().zip(exps) {
                    assert!((f64::from(*y) - exp / sum).abs() <= 2e-6 * exp / sum + 1e-30, "{isa:?} {len}");
                }
            }
        }
    }
}
