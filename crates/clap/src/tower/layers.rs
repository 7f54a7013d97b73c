//! Linear layers and layer norms over rows.

use candle_core::Tensor;
use candle_nn::ops::layer_norm;

use crate::Result;
use crate::weights::Weights;

/// A linear layer.
pub(super) struct Linear {
    /// The weights, input by output.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A `torch.nn.Linear`, whose weights are output by input.
    pub(super) fn new(weights: &Weights<'_>, name: &str, input: usize, output: usize, bias: bool) -> Result<Self> {
        let weight = weights.tensor(&format!("{name}.weight"), &[output, input])?;
        let bias = bias.then(|| weights.tensor(&format!("{name}.bias"), &[output])).transpose()?;
        Ok(Linear { weight: weight.t()?.contiguous()?, bias })
    }

    /// Layers with the same input as one layer, whose outputs lie beside one another.
    pub(super) fn joined(layers: &[Linear]) -> Result<Self> {
        let weight: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let bias: Option<Vec<&Tensor>> = layers.iter().map(|layer| layer.bias.as_ref()).collect();
        let bias = bias.map(|bias| Tensor::cat(&bias, 0)).transpose()?;
        Ok(Linear { weight: Tensor::cat(&weight, 1)?.contiguous()?, bias })
    }

    /// A `torch.nn.Conv2d` of one channel whose kernel is as long as its stride: a linear layer over the pixels of patches.
    pub(super) fn of_convolution(weights: &Weights<'_>, name: &str, side: usize, output: usize) -> Result<Self> {
        let weight = weights.tensor(&format!("{name}.weight"), &[output, 1, side, side])?;
        let bias = Some(weights.tensor(&format!("{name}.bias"), &[output])?);
        Ok(Linear { weight: weight.reshape((output, side * side))?.t()?.contiguous()?, bias })
    }

    /// The outputs of rows of inputs.
    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let product = rows.matmul(&self.weight)?;
        Ok(match &self.bias {
            Some(bias) => product.broadcast_add(bias)?,
            None => product,
        })
    }
}

/// A layer norm over the values of a row.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    pub(super) fn new(weights: &Weights<'_>, name: &str, width: usize, eps: f64) -> Result<Self> {
        let weight = weights.tensor(&format!("{name}.weight"), &[width])?;
        let bias = weights.tensor(&format!("{name}.bias"), &[width])?;
        Ok(LayerNorm { weight, bias, eps: eps as f32 })
    }

    /// The normalised rows.
    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(rows, &self.weight, &self.bias, self.eps)?)
    }
}
