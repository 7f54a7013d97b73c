//! One layer of the encoder: attention and the feed-forward block, each after a norm and beside a residual connection.

use candle_core::{D, Tensor};
use candle_nn::ops::softmax;
use mert_arch::{T5Config, T5FeedForward};

use crate::Result;
use crate::norm::Norm;
use crate::weights::Weights;

/// The weights of a layer. None has a bias.
pub(crate) struct Layer {
    attention_norm: Norm,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    feed_forward_norm: Norm,
    /// `wi`, or `wi_0` and `wi_1`.
    inputs: Vec<Tensor>,
    output: Tensor,
    feed_forward: T5FeedForward,
    heads: usize,
}

impl Layer {
    pub(crate) fn open(weights: &Weights<'_>, config: &T5Config, number: usize) -> Result<Self> {
        let path = format!("encoder.block.{number}.layer");
        let norm =
            |part: usize| Norm::open(weights, &format!("{path}.{part}.layer_norm.weight"), config.layer_norm_epsilon);
        // Products take the transposed weight.
        let linear = |name: &str| Ok(weights.tensor(&format!("{path}.{name}.weight"))?.t()?.contiguous()?);
        let names: &[&str] = match config.feed_forward_proj {
            T5FeedForward::Relu => &["wi"],
            T5FeedForward::GatedGelu => &["wi_0", "wi_1"],
        };
        let inputs = names.iter().map(|name| linear(&format!("1.DenseReluDense.{name}")));
        Ok(Layer {
            attention_norm: norm(0)?,
            q: linear("0.SelfAttention.q")?,
            k: linear("0.SelfAttention.k")?,
            v: linear("0.SelfAttention.v")?,
            o: linear("0.SelfAttention.o")?,
            feed_forward_norm: norm(1)?,
            inputs: inputs.collect::<Result<_>>()?,
            output: linear("1.DenseReluDense.wo")?,
            feed_forward: config.feed_forward_proj,
            heads: config.num_heads,
        })
    }

    /// Computes the layer for states `(tokens, width)` with the bias `(heads, tokens, tokens)` of the scores.
    pub(crate) fn forward(&self, states: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let states = (states + self.attend(&self.attention_norm.forward(states)?, bias)?)?;
        let x = self.feed_forward_norm.forward(&states)?;
        let inner = match (self.feed_forward, &self.inputs[..]) {
            (T5FeedForward::GatedGelu, [gate, linear]) => (x.matmul(gate)?.gelu()? * x.matmul(linear)?)?,
            (_, inputs) => x.matmul(&inputs[0])?.relu()?,
        };
        Ok((states + inner.matmul(&self.output)?)?)
    }

    /// Attention without a scale, as T5 has it.
    fn attend(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let tokens = x.dim(0)?;
        let heads = |weight: &Tensor| -> Result<Tensor> {
            let rows = x.matmul(weight)?.reshape((tokens, self.heads, ()))?;
            Ok(rows.transpose(0, 1)?.contiguous()?)
        };
        let (q, k, v) = (heads(&self.q)?, heads(&self.k)?, heads(&self.v)?);
        let scores = (q.matmul(&k.transpose(1, 2)?)? + bias)?;
        let attended = softmax(&scores, D::Minus1)?.matmul(&v)?;
        Ok(attended.transpose(0, 1)?.flatten_from(1)?.matmul(&self.o)?)
    }
}
