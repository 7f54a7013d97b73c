//! Multi-head self-attention: the projections around the scaled dot products.

use candle_core::{Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use mert_arch::Config;

use super::ops::scaled_dot_product_attention;
use super::position_bias::{Gates, RelativeBias};

/// Multi-head self-attention over all frames, with biases in all four projections: transformers' `HubertAttention` and
/// `WavLMAttention`.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
    head_dim: usize,
    relax: Option<f64>,
    gates: Option<Gates>,
}

impl Attention {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let width = config.hidden_size;
        let linear = |name| candle_nn::linear(width, width, vb.pp(name));
        Ok(Attention {
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
            gates: Gates::load(&vb, config)?,
            relax: Some(config.attention_relax).filter(|&relax| relax > 0.0),
        })
    }

    /// Maps `(batch, frames, hidden_size)` to the same shape. A model with a position bias needs that of the clips' length.
    pub(crate) fn forward(&self, x: &Tensor, relative: Option<&RelativeBias>) -> Result<Tensor> {
        let (batch, frames, width) = x.dims3()?;
        let split = |x: Tensor| x.reshape((batch, frames, self.heads, self.head_dim))?.transpose(1, 2);
        let scale = (self.head_dim as f64).powf(-0.5);
        let q = split((self.q_proj.forward(x)? * scale)?)?;
        let k = split(self.k_proj.forward(x)?)?;
        let v = split(self.v_proj.forward(x)?)?;
        let bias = self.gates.as_ref().zip(relative).map(|(gates, relative)| gates.gate(relative, x)).transpose()?;
        let block = |start, queries| bias.as_ref().map(|bias| bias.block(start, queries)).transpose();
        let y = scaled_dot_product_attention(&q, &k, &v, block, self.relax)?;
        self.out_proj.forward(&y.transpose(1, 2)?.reshape((batch, frames, width))?)
    }
}
