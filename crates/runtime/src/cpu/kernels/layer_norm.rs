//! LayerNorm over the channels of each frame.

use mert_simd::{Buffer, Isa, Kernel, TileShape, mul_add};
use pulp::Simd;

/// The constants of a LayerNorm: gain γ, bias β and ε.
#[derive(Debug)]
pub(crate) struct Affine {
    /// The gain γ, `(channels,)`.
    pub(crate) weight: Buffer,
    /// The bias β, `(channels,)`.
    pub(crate) bias: Buffer,
    pub(crate) eps: f32,
}

/// Normalises the frames of `x` in place: γ·(x − μ)/√(σ² + ε) + β, with the biased variance
/// ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)). Two passes, mean first: `E[x²] − μ²` cancels in f32.
pub(crate) fn layer_norm(isa: Isa, x: &mut [f32], affine: &Affine) {
    isa.run(TileShape::Square, Normalise { x, affine });
}

struct Normalise<'a> {
    x: &'a mut [f32],
    affine: &'a Affine,
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Affine { weight, bias, eps } = self.affine;
        let channels = weight.len();
        for frame in self.x.chunks_exact_mut(channels) {
            let mean = sum_powers::<S, 1>(simd, frame, 0.0) / channels as f32;
            let variance = sum_powers::<S, 2>(simd, frame, mean) / channels as f32;
            let (means, scales) = (simd.splat_f32s(mean), simd.splat_f32s(1.0 / (variance + eps).sqrt()));
            let (vectors, rest) = S::as_mut_simd_f32s(frame);
            let ((weights, last_weights), (biases, last_biases)) = (S::as_simd_f32s(weight), S::as_simd_f32s(bias));
            for ((x, &weight), &bias) in vectors.iter_mut().zip(weights).zip(biases) {
                let normalised = simd.mul_f32s(simd.sub_f32s(*x, means), scales);
                *x = mul_add(simd, normalised, weight, bias);
            }
            for ((x, weight), bias) in rest.iter_mut().zip(last_weights).zip(last_biases) {
                *x = (*x - mean) * (1.0 / (variance + eps).sqrt()) * weight + bias;
            }
        }
    }
}

/// The sum of (x − origin)ᵖ for p = `POWER`, 1 or 2.
#[inline(always)]
fn sum_powers<S: Simd, const POWER: usize>(simd: S, values: &[f32], origin: f32) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(values);
    let (fours, others) = vectors.as_chunks::<4>();
    let origins = simd.splat_f32s(origin);
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in fours {
        for i in 0..4 {
            let x = simd.sub_f32s(four[i], origins);
            sums[i] = if POWER == 2 { mul_add(simd, x, x, sums[i]) } else { simd.add_f32s(sums[i], x) };
        }
    }
    for &x in others {
        let x = simd.sub_f32s(x, origins);
        sums[0] = if POWER == 2 { mul_add(simd, x, x, sums[0]) } else { simd.add_f32s(sums[0], x) };
    }
    let pairs = [simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])];
    let sum = simd.reduce_sum_f32s(simd.add_f32s(pairs[0], pairs[1]));
    rest.iter().fold(sum, |sum, x| sum + (x - origin).powi(POWER as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_in_f64() {
        for isa in Isa::available() {
            for channels in [1, 5, 16, 37, 64, 768] {
                // A mean that is large against the spread, as the first frames of real features have it.
                let x: Vec<f32> = (0..3 * channels).map(|i| 1000.0 + ((i * 37) % 101) as f32 / 50.0).collect();
                let gain: Vec<f32> = (0..channels).map(|c| 0.5 + (c % 7) as f32).collect();
                let bias: Vec<f32> = (0..channels).map(|c| 0.25 * (c % 5) as f32 - 1.0).collect();
                let affine = Affine { weight: Buffer::from(&gain[..]), bias: Buffer::from(&bias[..]), eps: 1e-5 };
                let mut y = x.clone();
                layer_norm(isa, &mut y, &affine);
                for (x, y) in x.chunks(channels).zip(y.chunks(channels)) {
                    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / channels as f64;
                    let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / channels as f64;
                    for c in 0..channels {
                        let normalised = (f64::from(x[c]) - mean) / (variance + 1e-5).sqrt();
                        let expected = normalised * f64::from(gain[c]) + f64::from(bias[c]);
                        // The mean of values near 1000 is known to 6e-5 in f32, against a spread of 0.6.
                        approx::assert_abs_diff_eq!(f64::from(y[c]), expected, epsilon = 2e-3);
                    }
                }
            }
        }
    }
}
