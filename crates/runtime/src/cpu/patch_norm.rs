use candle_core::{DType, Device, Result, Tensor};

use super::isa::Isa;
use super::linear::Linear;

/// The first convolution and the GroupNorm after it, one channel to a group: each channel is
/// normalised over the frames of the clip (`torch.nn.GroupNorm(channels, channels)`).
///
/// With p the patch of samples under a frame, channel c before the norm is w·p (and its bias, which the
/// norm takes away). So its mean over the frames is w·m and its variance wᵀ·C·w, with m the mean of the
/// patches and C their covariance: ten numbers and a hundred, instead of a pass over all channels of all
/// frames. The norm is then another weight and bias for the same convolution.
#[derive(Debug)]
pub(crate) struct PatchNorm {
    /// `(channels, kernel)`.
    weight: Vec<f64>,
    gain: Vec<f64>,
    shift: Vec<f64>,
    kernel: usize,
    eps: f64,
}

impl PatchNorm {
    /// `weight` is `(channels, kernel)`.
    pub(crate) fn new(weight: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Self> {
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
        let kernel = weight.dim(1)?;
        Ok(PatchNorm { weight: values(weight)?, gain: values(gain)?, shift: values(shift)?, kernel, eps })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.gain.len()
    }

    /// The convolution that gives this clip's normalised channels.
    pub(crate) fn fold(&self, isa: Isa, clip: &[f32], stride: usize) -> Result<Linear> {
        let (mean, covariance) = patch_statistics(clip, self.kernel, stride);
        let (mut weight, mut bias) = (Vec::with_capacity(self.weight.len()), Vec::with_capacity(self.gain.len()));
        for ((w, gain), shift) in self.weight.chunks(self.kernel).zip(&self.gain).zip(&self.shift) {
            let dot = |x: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            let variance: f64 = w.iter().zip(covariance.chunks(self.kernel)).map(|(w, row)| w * dot(row)).sum();
            let scale = gain / (variance.max(0.0) + self.eps).sqrt();
            weight.extend(w.iter().map(|w| (w * scale) as f32));
            bias.push((shift - scale * dot(&mean)) as f32);
        }
        let weight = Tensor::from_vec(weight, (self.gain.len(), self.kernel), &Device::Cpu)?;
        let bias = Tensor::from_vec(bias, self.gain.len(), &Device::Cpu)?;
        Linear::pack(isa, isa.shape_for(self.gain.len()), &weight, Some(&bias))
    }
}

/// Mean `(kernel,)` and biased covariance `(kernel, kernel)` of the clip's patches.
fn patch_statistics(clip: &[f32], kernel: usize, stride: usize) -> (Vec<f64>, Vec<f64>) {
    let patches = || clip.windows(kernel).step_by(stride);
    let count = patches().len() as f64;
    let mut mean = vec![0.0; kernel];
    for patch in patches() {
        for (sum, &x) in mean.iter_mut().zip(patch) {
            *sum += f64::from(x);
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    let mut covariance = vec![0.0; kernel * kernel];
    let mut centred = vec![0.0; kernel];
    for patch in patches() {
        for ((centred, &x), mean) in centred.iter_mut().zip(patch).zip(&mean) {
            *centred = f64::from(x) - mean;
        }
        for (row, &x) in covariance.chunks_mut(kernel).zip(&centred) {
            for (sum, &y) in row.iter_mut().zip(&centred) {
                *sum += x * y;
            }
        }
    }
    covariance.iter_mut().for_each(|sum| *sum /= count);
    (mean, covariance)
}

#[cfg(test)]
mod tests {
    use super::super::conv1d::Conv1d;
    use super::super::gemm::GemmScratch;
    use super::*;

    #[test]
    fn agrees_with_convolving_and_normalising_in_f64() {
        let (channels, kernel, stride, samples, eps) = (21, 10, 5, 1003, 1e-5);
        let value = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
        // An offset far above the spread: what the variance is left of E[x²] − μ².
        let clip: Vec<f32> = (0..samples).map(|i| 30.0 + value(i, 1)).collect();
        let weight: Vec<f32> = (0..channels * kernel).map(|i| value(i, 2)).collect();
        let (gain, shift): (Vec<f32>, Vec<f32>) = (0..channels).map(|c| (1.5 + value(c, 3), value(c, 4))).unzip();
        let tensor = |x: &[f32]| Tensor::from_slice(x, x.len(), &Device::Cpu).unwrap();
        let w = tensor(&weight).reshape((channels, kernel)).unwrap();
        let norm = PatchNorm::new(&w, &tensor(&gain), &tensor(&shift), eps).unwrap();
        let frames = (samples - kernel) / stride + 1;
        for isa in Isa::available() {
            let folded = norm.fold(isa, &clip, stride).unwrap();
            let mut out = vec![0.0; frames * channels];
            Conv1d::of_samples(folded, stride).forward(isa, &clip, &mut out, None, &mut GemmScratch::default());
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
