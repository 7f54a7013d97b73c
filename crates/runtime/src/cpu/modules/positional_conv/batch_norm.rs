//! The BatchNorm before the positional convolution.

use candle_core::{DType, Result};

use super::super::weight_loader::WeightLoader;

/// `torch.nn.BatchNorm1d` in evaluation: each channel with its running mean and variance, γ·(x − μ)/√(σ² + ε) + β.
///
/// It is not folded into the convolution, which pads the normalised frames with zeros, not the frames.
#[derive(Debug)]
pub(super) struct BatchNorm {
    mean: Vec<f32>,
    /// The factor γ/√(σ² + ε).
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl BatchNorm {
    pub(super) fn load(weights: &WeightLoader<'_>, width: usize, eps: f64) -> Result<Self> {
        let vector = |name| weights.vector(name, width)?.to_dtype(DType::F32)?.to_vec1::<f32>();
        let scale = |(gain, variance): (f32, f32)| (f64::from(gain) / (f64::from(variance) + eps).sqrt()) as f32;
        Ok(BatchNorm {
            mean: vector("running_mean")?,
            scale: vector("weight")?.into_iter().zip(vector("running_var")?).map(scale).collect(),
            bias: vector("bias")?,
        })
    }

    /// Writes to `out` the normalised values of `x`, whose first channel is `channel`.
    pub(super) fn normalise(&self, channel: usize, x: &[f32], out: &mut [f32]) {
        let (mean, scale, bias) = (&self.mean[channel..], &self.scale[channel..], &self.bias[channel..]);
        for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = (x - mean[i]) * scale[i] + bias[i];
        }
    }
}
