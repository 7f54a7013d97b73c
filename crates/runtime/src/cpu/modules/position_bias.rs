//! The gated relative position bias of the attention scores: the checkpoint's weights in the forms that the attention kernel
//! takes.

use candle_core::{DType, Result, Tensor};
use mert_arch::{Config, PositionBias as Buckets};

use super::super::kernels::head_layout::HeadLayout;
use super::super::kernels::position_bias::{self, Gate};
use super::context::Context;
use super::weight_loader::WeightLoader;

/// The table of biases by bucket, which layer 0 holds for all layers.
#[derive(Debug)]
pub(crate) struct PositionBias {
    /// The table, `(num_buckets, heads)`.
    table: Vec<f32>,
    buckets: Buckets,
    heads: usize,
    head_dim: usize,
}

impl PositionBias {
    /// Loads the table from the encoder's layers, if the model has one.
    pub(crate) fn load(layers: &WeightLoader<'_>, config: &Config) -> Result<Option<Self>> {
        let Some(buckets) = config.position_bias() else { return Ok(None) };
        let heads = config.num_attention_heads;
        let table = values(&layers.tensor("0.attention.rel_attn_embed.weight", (buckets.num_buckets, heads))?)?;
        Ok(Some(PositionBias { table, buckets, heads, head_dim: config.head_dim() }))
    }

    /// Writes the biases of every head for clips of the context's length, which all layers read.
    pub(crate) fn fill(&self, context: &mut Context<'_>) {
        let layout = HeadLayout::new(context.executor.arithmetic, context.frames, self.head_dim);
        let last = context.frames as i64 - 1;
        let size = position_bias::size(layout);
        let by_distance = context.intermediates.biases_by_distance.take(self.heads * size);
        for (head, by_distance) in by_distance.chunks_mut(size).enumerate() {
            let bias = |distance| self.table[self.buckets.bucket(distance) * self.heads + head];
            position_bias::fill(layout, (-last..=last).map(bias), by_distance);
        }
    }
}

/// Loads the gate of each head of an attention; none if the model has no position bias.
pub(crate) fn load_gates(weights: &WeightLoader<'_>, config: &Config) -> Result<Vec<Gate>> {
    if config.position_bias().is_none() {
        return Ok(Vec::new());
    }
    let (heads, head_dim) = (config.num_attention_heads, config.head_dim());
    // Each gate needs only the sum of half of the projection's values.
    let sums = |name: &str, columns: usize| -> Result<Vec<f32>> {
        let tensor = weights.tensor(name, (Buckets::GATE_VALUES, columns))?.to_dtype(DType::F32)?;
        values(&tensor.reshape((2, Buckets::GATE_VALUES / 2, columns))?.sum(1)?)
    };
    let projection = sums("gru_rel_pos_linear.weight", head_dim)?;
    let bias = values(&weights.vector("gru_rel_pos_linear.bias", Buckets::GATE_VALUES)?)?;
    let bias = [0, 1].map(|i| bias[i * Buckets::GATE_VALUES / 2..][..Buckets::GATE_VALUES / 2].iter().sum());
    let factors = values(&weights.tensor("gru_rel_pos_const", (1, heads, 1, 1))?)?;
    // Every head has the same projection, of its own channels.
    let (first, second) = projection.split_at(head_dim);
    let gate = |(head, factor)| Gate::new(head * head_dim, [first, second], bias, factor);
    Ok(factors.into_iter().enumerate().map(gate).collect())
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}
