//! LayerNorm and GroupNorm, with the mean subtracted before squares are summed.

use candle_core::{D, DType, Result, Tensor};

/// LayerNorm over the channels of each frame: γ·(x − μ)/√(σ² + ε) + β, with the biased variance
/// ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)).
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    norm: Norm,
}

/// GroupNorm with one channel per group, over the frames of each channel: `torch.nn.GroupNorm(channels, channels)`.
#[derive(Debug, Clone)]
pub(crate) struct GroupNorm {
    norm: Norm,
}

#[derive(Debug, Clone)]
struct Norm {
    /// The gain γ and the bias β in f32, `(channels,)`; `None` for 1 and 0.
    affine: Option<(Tensor, Tensor)>,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(weight: Tensor, bias: Tensor, eps: f64) -> Result<Self> {
        Ok(LayerNorm { norm: Norm::new(weight, bias, eps)? })
    }

    /// The norm without gain and bias: PyTorch's `elementwise_affine=False`.
    pub(crate) fn without_affine(eps: f64) -> Self {
        LayerNorm { norm: Norm { affine: None, eps } }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.normalise(x, D::Minus1)
    }
}

impl GroupNorm {
    pub(crate) fn new(weight: Tensor, bias: Tensor, eps: f64) -> Result<Self> {
        Ok(GroupNorm { norm: Norm::new(weight, bias, eps)? })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.normalise(x, D::Minus2)
    }
}

impl Norm {
    fn new(weight: Tensor, bias: Tensor, eps: f64) -> Result<Self> {
        Ok(Norm { affine: Some((weight.to_dtype(DType::F32)?, bias.to_dtype(DType::F32)?)), eps })
    }

    /// Normalises over `dim` in two passes, mean first: candle's fused kernel takes `E[x²] − μ²` in f32, which cancels
    /// when the mean is large against the spread.
    fn normalise(&self, x: &Tensor, dim: D) -> Result<Tensor> {
        let dtype = x.dtype();
        let x = x.to_dtype(DType::F32)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(dim)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(dim)? + self.eps)?.sqrt()?;
        let normalised = centred.broadcast_div(&deviation)?;
        match &self.affine {
            Some((weight, bias)) => normalised.broadcast_mul(weight)?.broadcast_add(bias)?.to_dtype(dtype),
            None => normalised.to_dtype(dtype),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const EPS: f64 = 1e-5;

    /// (frames, channels), with a mean that is large against the spread.
    fn input(frames: usize, channels: usize) -> Vec<f32> {
        (0..frames * channels).map(|i| 1000.0 + ((i * 37) % 101) as f32 / 50.0).collect()
    }

    fn check(channels_normalised: bool, affine: bool) {
        let (frames, channels) = (7, 5);
        let x = input(frames, channels);
        let gain: Vec<f32> = (0..channels).map(|c| if affine { 0.5 + c as f32 } else { 1.0 }).collect();
        let bias: Vec<f32> = (0..channels).map(|c| if affine { 0.25 * c as f32 - 1.0 } else { 0.0 }).collect();
        let cpu = Device::Cpu;
        let tensor = Tensor::from_slice(&x, (1, frames, channels), &cpu).unwrap();
        let (w, b) = (Tensor::new(&gain[..], &cpu).unwrap(), Tensor::new(&bias[..], &cpu).unwrap());
        let y = match (channels_normalised, affine) {
            (true, true) => LayerNorm::new(w, b, EPS).unwrap().forward(&tensor),
            (true, false) => LayerNorm::without_affine(EPS).forward(&tensor),
            (false, _) => GroupNorm::new(w, b, EPS).unwrap().forward(&tensor),
        };
        let y = y.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for t in 0..frames {
            for c in 0..channels {
                let along: Vec<f64> = if channels_normalised {
                    (0..channels).map(|c| f64::from(x[t * channels + c])).collect()
                } else {
                    (0..frames).map(|t| f64::from(x[t * channels + c])).collect()
                };
                let n = along.len() as f64;
                let mean = along.iter().sum::<f64>() / n;
                let variance = along.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                let expected = (f64::from(x[t * channels + c]) - mean) / (variance + EPS).sqrt() * f64::from(gain[c])
                    + f64::from(bias[c]);
                // The mean of values near 1000 is known to 6e-5 in f32, against a spread of 0.6.
                approx::assert_abs_diff_eq!(f64::from(y[t * channels + c]), expected, epsilon = 1e-3);
            }
        }
    }

    #[test]
    fn layer_norm_is_over_channels() {
        check(true, true);
        check(true, false);
    }

    #[test]
    fn group_norm_is_over_frames() {
        check(false, true);
    }
}
