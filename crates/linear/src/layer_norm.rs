//! LayerNorm over the channels of each row.

use mert_simd::{Isa, Kernel, mul_add};
use pulp::Simd;

/// Constants of a LayerNorm.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// The gain γ, `(channels,)`.
    pub weight: Vec<f32>,
    /// The bias β, `(channels,)`.
    pub bias: Vec<f32>,
    /// The ε that is added to the variance.
    pub eps: f32,
}

/// y = γ·(x − μ)/√(σ² + ε) + β for each row of `x` `(rows, channels)`, with the biased variance
/// ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)). The mean is subtracted before squares are taken, and its own
/// rounding is corrected, so that rows with a mean that is large against their spread keep their digits.
///
/// # Panics
/// If `weight` and `bias` differ in length, or `x` and `y` are not equally many whole rows.
pub fn layer_norm(isa: Isa, norm: &LayerNorm, x: &[f32], y: &mut [f32]) {
    assert_eq!(norm.weight.len(), norm.bias.len(), "channels of weight and bias");
    assert_eq!(x.len(), y.len(), "values of the result");
    assert!(x.is_empty() || x.len().is_multiple_of(norm.weight.len()), "rows of {} values", norm.weight.len());
    isa.run_dots(Normalise { norm, x, y });
}

struct Normalise<'a> {
    norm: &'a LayerNorm,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let LayerNorm { weight, bias, eps } = self.norm;
        let channels = weight.len();
        if channels == 0 {
            return;
        }
        for (x, y) in self.x.chunks_exact(channels).zip(self.y.chunks_exact_mut(channels)) {
            let (sum, _) = moments(simd, x, 0.0);
            let origin = (sum / channels as f64) as f32;
            // With the mean rounded to f32 as the origin, the rest of the mean is small and exact enough.
            let (sum, squares) = moments(simd, x, origin);
            let rest = sum / channels as f64;
            let variance = squares / channels as f64 - rest * rest;
            let scale = 1.0 / (variance + f64::from(*eps)).sqrt();
            let (rest, scale) = (rest as f32, scale as f32);
            let (origins, rests, scales) = (simd.splat_f32s(origin), simd.splat_f32s(rest), simd.splat_f32s(scale));
            let ((xs, last_x), (ys, last_y)) = (S::as_simd_f32s(x), S::as_mut_simd_f32s(y));
            let ((weights, last_weights), (biases, last_biases)) = (S::as_simd_f32s(weight), S::as_simd_f32s(bias));
            for (((y, &x), &weight), &bias) in ys.iter_mut().zip(xs).zip(weights).zip(biases) {
                let centred = simd.sub_f32s(simd.sub_f32s(x, origins), rests);
                *y = mul_add(simd, simd.mul_f32s(centred, scales), weight, bias);
            }
            for (((y, x), weight), bias) in last_y.iter_mut().zip(last_x).zip(last_weights).zip(last_biases) {
                *y = ((x - origin) - rest) * scale * weight + bias;
            }
        }
    }
}

/// Σ (x − origin) and Σ (x − origin)²: in f32 for 8 registers at a time, and from there on in f64.
#[inline(always)]
fn moments<S: Simd>(simd: S, values: &[f32], origin: f32) -> (f64, f64) {
    let (vectors, rest) = S::as_simd_f32s(values);
    let origins = simd.splat_f32s(origin);
    let (mut sum, mut square) = (0f64, 0f64);
    for vectors in vectors.chunks(8) {
        let (mut sums, mut squares) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
        for &x in vectors {
            let x = simd.sub_f32s(x, origins);
            sums = simd.add_f32s(sums, x);
            squares = mul_add(simd, x, x, squares);
        }
        sum += f64::from(simd.reduce_sum_f32s(sums));
        square += f64::from(simd.reduce_sum_f32s(squares));
    }
    for &x in rest {
        let x = f64::from(x - origin);
        sum += x;
        square += x * x;
    }
    (sum, square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_in_f64() {
        for isa in Isa::available() {
            for (channels, offset) in [1, 5, 16, 37, 64, 2048].into_iter().flat_map(|c| [(c, 0.0), (c, 100.0)]) {
                let x: Vec<f32> = (0..3 * channels).map(|i| offset + ((i * 37) % 101) as f32 / 50.0).collect();
                let weight: Vec<f32> = (0..channels).map(|c| 0.5 + (c % 7) as f32).collect();
                let bias: Vec<f32> = (0..channels).map(|c| 0.25 * (c % 5) as f32 - 1.0).collect();
                let norm = LayerNorm { weight, bias, eps: 1e-5 };
                let mut y = vec![0.0; x.len()];
                layer_norm(isa, &norm, &x, &mut y);
                for (x, y) in x.chunks(channels).zip(y.chunks(channels)) {
                    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / channels as f64;
                    let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / channels as f64;
                    for c in 0..channels {
                        let normalised = (f64::from(x[c]) - mean) / (variance + 1e-5).sqrt();
                        let expected = normalised * f64::from(norm.weight[c]) + f64::from(norm.bias[c]);
                        // A few roundings of values below 13, and none that grows with the mean.
                        let bound = 4e-7 * (normalised.abs() * f64::from(norm.weight[c]) + 1.0);
                        assert!(
                            (f64::from(y[c]) - expected).abs() <= bound,
                            "{isa:?} {channels} {offset}: {} {expected}",
                            y[c]
                        );
                    }
                }
            }
        }
    }
}
