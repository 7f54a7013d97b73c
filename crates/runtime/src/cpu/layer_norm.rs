use candle_core::{DType, Result, Tensor};
use pulp::Simd;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::isa::{Isa, Kernel, Shape, mul_add};
use super::packed::{Packed, write_rows};
use super::scratch;

/// Normalises over the channels of each frame: γ·(x − μ)/√(σ² + ε) + β, with the biased variance
/// (Ba et al. 2016, arXiv:1607.06450). Two passes, mean first: E[x²] − μ² cancels in f32.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Buffer,
    bias: Buffer,
    eps: f32,
}

impl LayerNorm {
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        let values = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.to_vec1::<f32>();
        Ok(LayerNorm {
            weight: Buffer::from(&values(weight)?[..]),
            bias: Buffer::from(&values(bias)?[..]),
            eps: eps as f32,
        })
    }

    /// Normalises the frames of `x` in place, on all threads.
    pub(crate) fn forward(&self, isa: Isa, x: &mut [f32]) {
        /// Frames to a task: long enough to be worth one.
        const FRAMES: usize = 32;
        x.par_chunks_mut(FRAMES * self.weight.len()).for_each(|frames| self.normalise(isa, frames));
    }

    /// Normalises the frames of `x` in place and copies them to `packed`, on all threads.
    pub(crate) fn forward_packed(&self, isa: Isa, x: &mut [f32], packed: &mut Packed) {
        packed.resize(isa, x.len() / self.weight.len(), self.weight.len());
        packed.fill_from(x, |x, tile| {
            self.normalise(isa, x);
            write_rows(tile, x, self.weight.len());
        });
    }

    /// Writes the normalised frames of `x` to `packed` only, on all threads.
    pub(crate) fn to_packed(&self, isa: Isa, x: &mut [f32], packed: &mut Packed) {
        packed.resize(isa, x.len() / self.weight.len(), self.weight.len());
        packed.fill_from(x, |x, tile| {
            scratch::with(|scratch| {
                let normalised = scratch.a.take(x.len());
                normalised.copy_from_slice(x);
                self.normalise(isa, normalised);
                write_rows(tile, normalised, self.weight.len());
            });
        });
    }

    /// Normalises the frames of `x` in place, on this thread.
    pub(crate) fn normalise(&self, isa: Isa, x: &mut [f32]) {
        isa.run(Shape::Square, Normalise { norm: self, x });
    }
}

struct Normalise<'a> {
    norm: &'a LayerNorm,
    x: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let LayerNorm { weight, bias, eps } = self.norm;
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

/// Sum of (x − origin)ᵖ for p = `POWER`, 1 or 2.
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
    use candle_core::Device;

    use super::*;

    #[test]
    fn agrees_with_the_definition_in_f64() {
        for isa in Isa::available() {
            for channels in [1, 5, 16, 37, 64, 768] {
                // A mean that is large against the spread, as the first frames of real features have it.
                let x: Vec<f32> = (0..3 * channels).map(|i| 1000.0 + ((i * 37) % 101) as f32 / 50.0).collect();
                let gain: Vec<f32> = (0..channels).map(|c| 0.5 + (c % 7) as f32).collect();
                let bias: Vec<f32> = (0..channels).map(|c| 0.25 * (c % 5) as f32 - 1.0).collect();
                let tensor = |x: &[f32]| Tensor::from_slice(x, x.len(), &Device::Cpu).unwrap();
                let mut y = x.clone();
                LayerNorm::new(&tensor(&gain), &tensor(&bias), 1e-5).unwrap().forward(isa, &mut y);
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
