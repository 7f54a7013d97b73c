//! The convolutional position embedding, in all its variants.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{Activation, Config, PositionalConv};

use super::ops::{Conv1d, LayerNorm, activate};

/// Epsilon of the norms in the position embedding: PyTorch's default, which no configuration changes.
const EPS: f64 = 1e-5;

/// Grouped convolutions, each with the activation after it, whose output embeds the position of each frame: transformers'
/// `HubertPositionalConvEmbedding` and `Data2VecAudioPositionalConvEmbedding`.
#[derive(Debug, Clone)]
pub(crate) struct PositionalConvEmbedding {
    /// The norm before the first convolution.
    batch_norm: Option<BatchNorm>,
    convs: Vec<Conv1d>,
    /// The norm between each convolution and its activation.
    layer_norm: Option<LayerNorm>,
    activation: Activation,
}

impl PositionalConvEmbedding {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let (width, variant) = (config.hidden_size, config.positional_conv());
        let (kernel, groups) = (variant.kernel(), variant.groups());
        let conv = |vb: VarBuilder| {
            let weight = vb.get((width, width / groups, kernel), "weight")?;
            Conv1d::new(weight, Some(vb.get(width, "bias")?), 1, kernel / 2, groups)
        };
        let (batch_norm, convs, layer_norm) = match variant {
            PositionalConv::WeightNorm { .. } => (None, vec![conv(vb.pp("conv"))?], None),
            PositionalConv::BatchNorm { .. } => {
                (Some(BatchNorm::load(vb.pp("batch_norm"), width)?), vec![conv(vb.pp("conv"))?], None)
            }
            PositionalConv::Stack { layers, .. } => {
                let convs = (0..layers).map(|i| conv(vb.pp("layers").pp(i).pp("conv")));
                (None, convs.collect::<Result<_>>()?, Some(LayerNorm::without_affine(EPS)))
            }
        };
        Ok(PositionalConvEmbedding { batch_norm, convs, layer_norm, activation: config.feat_extract_activation })
    }

    /// Maps `(batch, frames, hidden_size)` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let frames = x.dim(1)?;
        let mut x = match &self.batch_norm {
            Some(norm) => norm.forward(x)?,
            None => x.clone(),
        };
        for conv in &self.convs {
            // Padding kernel / 2 on both ends gives an even kernel one frame too many; the last one is dropped.
            let y = conv.forward(&x)?.narrow(1, 0, frames)?;
            let y = match &self.layer_norm {
                Some(norm) => norm.forward(&y)?,
                None => y,
            };
            x = activate(self.activation, &y)?;
        }
        Ok(x)
    }
}

/// `torch.nn.BatchNorm1d` in evaluation: each channel with its running mean and variance, γ·(x − μ)/√(σ² + ε) + β. It is not
/// folded into the convolution, which pads the normalised frames with zeros, not the frames.
#[derive(Debug, Clone)]
struct BatchNorm {
    mean: Tensor,
    /// The factor γ/√(σ² + ε).
    scale: Tensor,
    bias: Tensor,
}

impl BatchNorm {
    fn load(vb: VarBuilder, width: usize) -> Result<Self> {
        let vector = |name| vb.get(width, name)?.to_dtype(DType::F32);
        let deviation = (vector("running_var")? + EPS)?.sqrt()?;
        Ok(BatchNorm { mean: vector("running_mean")?, scale: (vector("weight")? / deviation)?, bias: vector("bias")? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.to_dtype(DType::F32)?.broadcast_sub(&self.mean)?;
        centred.broadcast_mul(&self.scale)?.broadcast_add(&self.bias)?.to_dtype(x.dtype())
    }
}
