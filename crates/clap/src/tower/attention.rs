//! Attention inside windows, with a bias for each relative position.

use candle_core::{D, Device, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::layers::Linear;
use super::windows::Windows;
use crate::Result;
use crate::config::AudioConfig;
use crate::weights::Weights;

/// Attention inside windows.
pub(super) struct Attention {
    /// Queries, keys and values as one layer.
    joined: Linear,
    output: Linear,
    /// The bias of each head, pair of patches and, in shifted windows, window: (windows or 1, heads, patches, patches).
    bias: Tensor,
    windows: usize,
    heads: usize,
    width: usize,
}

impl Attention {
    pub(super) fn new(
        config: &AudioConfig,
        stage: usize,
        windows: &Windows,
        name: &str,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let (width, heads) = (config.width(stage), config.num_attention_heads[stage]);
        let part = |part: &str| Linear::new(weights, &format!("{name}.self.{part}"), width, width, config.qkv_bias);
        let joined = Linear::joined(&[part("query")?, part("key")?, part("value")?])?;
        let output = Linear::new(weights, &format!("{name}.output.dense"), width, width, true)?;
        let (span, patches) = (2 * config.window_size - 1, config.window_size * config.window_size);
        let table = weights.tensor(&format!("{name}.self.relative_position_bias_table"), &[span * span, heads])?;
        let positions = Tensor::from_vec(windows.relative_positions(), patches * patches, &Device::Cpu)?;
        let mut bias = table.index_select(&positions, 0)?.t()?.reshape((1, heads, patches, patches))?;
        if windows.is_shifted() {
            let mask = Tensor::from_vec(windows.mask(), (windows.count(), 1, patches, patches), &Device::Cpu)?;
            bias = bias.broadcast_add(&mask)?;
        }
        Ok(Attention { joined, output, bias: bias.contiguous()?, windows: windows.count(), heads, width })
    }

    /// The outputs of patches in the order of windows.
    pub(super) fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let (rows, head) = (patches.dim(0)?, self.width / self.heads);
        let shape = (self.windows, rows / self.windows, 3, self.heads, head);
        // To (3, windows, heads, patches, width of a head).
        let joined = self.joined.forward(patches)?.reshape(shape)?.permute((2, 0, 3, 1, 4))?;
        let part = |index: usize| joined.get(index)?.contiguous();
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let query = (query * (1.0 / (head as f64).sqrt()))?;
        let scores = query.matmul(&key.transpose(D::Minus2, D::Minus1)?)?.broadcast_add(&self.bias)?;
        let context = softmax_last_dim(&scores)?.matmul(&value)?;
        let context = context.transpose(1, 2)?.reshape((rows, self.width))?;
        self.output.forward(&context)
    }
}
