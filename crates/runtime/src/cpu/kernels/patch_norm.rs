//! A convolution and the norm over time after it as one convolution, folded for each clip.

use candle_core::{DType, Result, Tensor};
use mert_simd::Isa;

use super::super::memory::{PackedWeight, PatchStatistics};

/// The first convolution and the GroupNorm after it, with one channel per group: each channel is normalised over the
/// frames of the clip (`torch.nn.GroupNorm(channels, channels)`).
///
/// With p the patch of samples under a frame, channel c before the norm is w·p plus its bias, which the norm removes.
/// So its mean over the frames is w·m and its variance wᵀ·C·w, with m the mean of the patches and C their covariance:
/// ten numbers and a hundred, instead of a pass over all channels of all frames. The norm then is another weight and
/// bias for the same convolution.
#[derive(Debug)]
pub(crate) struct PatchNorm {
    /// The weight of the convolution, `(channels, kernel)`.
    weight: Vec<f64>,
    gain: Vec<f64>,
    shift: Vec<f64>,
    kernel: usize,
    eps: f64,
}

impl PatchNorm {
    /// Takes `weight` `(channels, kernel)`, and `gain` and `shift` `(channels,)`.
    pub(crate) fn new(weight: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Self> {
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
        let kernel = weight.dim(1)?;
        Ok(PatchNorm { weight: values(weight)?, gain: values(gain)?, shift: values(shift)?, kernel, eps })
    }

    /// Packs into `folded` the convolution that gives the normalised channels of `clip`.
    pub(crate) fn fold(
        &self,
        isa: Isa,
        clip: &[f32],
        stride: usize,
        statistics: &mut PatchStatistics,
        folded: &mut PackedWeight,
    ) {
        let (mean, covariance) = measure(statistics, clip, self.kernel, stride);
        let rows = self.weight.chunks(self.kernel).zip(&self.gain).zip(&self.shift).map(|((w, gain), shift)| {
            let dot = |x: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            let variance: f64 = w.iter().zip(covariance.chunks(self.kernel)).map(|(w, row)| w * dot(row)).sum();
            let scale = gain / (variance.max(0.0) + self.eps).sqrt();
            (w.iter().map(move |w| (w * scale) as f32), (shift - scale * dot(mean)) as f32)
        });
        folded.repack(isa.tile_for(self.gain.len()), (self.gain.len(), self.kernel), rows);
    }
}

/// Mean and covariance of the patches of `kernel` samples that start every `stride` samples of `clip`.
fn measure<'a>(
    statistics: &'a mut PatchStatistics,
    clip: &[f32],
    kernel: usize,
    stride: usize,
) -> (&'a [f64], &'a [f64]) {
    let PatchStatistics { mean, covariance, centred } = statistics;
    let (mean, covariance, centred) = (mean.take(kernel), covariance.take(kernel * kernel), centred.take(kernel));
    mean.fill(0.0);
    covariance.fill(0.0);
    let patches = || clip.windows(kernel).step_by(stride);
    let count = patches().len() as f64;
    for patch in patches() {
        for (sum, &x) in mean.iter_mut().zip(patch) {
            *sum += f64::from(x);
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    for patch in patches() {
        for ((centred, &x), mean) in centred.iter_mut().zip(patch).zip(&*mean) {
            *centred = f64::from(x) - mean;
        }
        for (row, &x) in covariance.chunks_mut(kernel).zip(&*centred) {
            for (sum, &y) in row.iter_mut().zip(&*centred) {
                *sum += x * y;
            }
        }
    }
    covariance.iter_mut().for_each(|sum| *sum /= count);
    (mean, covariance)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use mert_simd::Factors;

    use super::super::super::arithmetic::Arithmetic;
    use super::super::super::memory::GemmScratch;
    use super::super::conv1d::patches;
    use super::*;

    #[test]
    fn agrees_with_convolving_and_normalising_in_f64() {
        let (channels, kernel, stride, samples, eps) = (21, 10, 5, 1003, 1e-5);
        let value = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
        // An offset far above the spread, for which E[x²] − μ² would cancel.
        let clip: Vec<f32> = (0..samples).map(|i| 30.0 + value(i, 1)).collect();
        let weight: Vec<f32> = (0..channels * kernel).map(|i| value(i, 2)).collect();
        let (gain, shift): (Vec<f32>, Vec<f32>) = (0..channels).map(|c| (1.5 + value(c, 3), value(c, 4))).unzip();
        let tensor = |x: &[f32]| Tensor::from_slice(x, x.len(), &Device::Cpu).unwrap();
        let w = tensor(&weight).reshape((channels, kernel)).unwrap();
        let norm = PatchNorm::new(&w, &tensor(&gain), &tensor(&shift), eps).unwrap();
        let frames = (samples - kernel) / stride + 1;
        let (mut statistics, mut folded) = (PatchStatistics::default(), PackedWeight::default());
        for isa in Isa::available() {
            norm.fold(isa, &clip, stride, &mut statistics, &mut folded);
            let mut out = vec![0.0; frames * channels];
            patches(
                Arithmetic::new(isa, Factors::F32),
                &folded,
                &clip,
                stride,
                &mut out,
                None,
                &mut GemmScratch::default(),
            );
            for c in 0..channels {
                let conv: Vec<f64> = (0..frames)
                    .map(|t| {
                        let products = (0..kernel).map(|k| (weight[c * kernel + k], clip[t * stride + k]));
                        products.map(|(w, x)| f64::from(w) * f64::from(x)).sum()
                    })
                    .collect();
                let mean = conv.iter().sum::<f64>() / frames as f64;
                let variance = conv.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / frames as f64;
                for (t, y) in conv.iter().enumerate() {
                    let expected = (y - mean) / (variance + eps).sqrt() * f64::from(gain[c]) + f64::from(shift[c]);
                    // Weights and samples of 30 in f32, ten of them, against a deviation of about 1.
                    approx::assert_abs_diff_eq!(f64::from(out[t * channels + c]), expected, epsilon = 1e-4);
                }
            }
        }
    }
}
