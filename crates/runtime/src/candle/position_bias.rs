//! The gated relative position bias of the attention scores.

use candle_core::{DType, Result, Tensor};
use candle_nn::{VarBuilder, ops::sigmoid};
use mert_arch::{Config, PositionBias as Buckets};

use super::ops::QUERY_BLOCK;

/// The table of biases by bucket, which layer 0 holds for all layers.
#[derive(Debug, Clone)]
pub(crate) struct PositionBias {
    /// The table in f32, `(num_buckets, heads)`.
    table: Tensor,
    buckets: Buckets,
}

/// The biases between the frames of clips of one length, before the gates: the same in every layer.
#[derive(Debug)]
pub(crate) struct RelativeBias {
    /// The bias of each distance key − query from −(frames − 1) to frames − 1, `(heads, 2·frames − 1)`.
    by_distance: Tensor,
    /// The positions in a window of distances of the biases of a block of queries, `(queries, frames)`.
    window: Tensor,
    frames: usize,
}

/// One layer's gates of the bias, computed from the input of its attention:
/// [`mert_arch::PositionBias`] has the formula.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    /// The two sums of the projection's outputs, as a projection to two values: `(head_dim, 2)`.
    weight: Tensor,
    bias: Tensor,
    /// The factor of each head, `(heads, 1, 1)`.
    factor: Tensor,
}

/// The bias of one layer's attention scores.
pub(crate) struct GatedBias<'a> {
    relative: &'a RelativeBias,
    /// `(batch, heads, frames, 1)`.
    gates: Tensor,
}

impl PositionBias {
    /// Loads the table from the encoder's layers, if the model has one.
    pub(crate) fn load(layers: &VarBuilder, config: &Config) -> Result<Option<Self>> {
        let Some(buckets) = config.position_bias() else { return Ok(None) };
        let vb = layers.pp("0.attention.rel_attn_embed");
        let table = vb.get((buckets.num_buckets, config.num_attention_heads), "weight")?.to_dtype(DType::F32)?;
        Ok(Some(PositionBias { table, buckets }))
    }

    /// The biases for clips of `frames` frames.
    pub(crate) fn relative(&self, frames: usize) -> Result<RelativeBias> {
        let device = self.table.device();
        let last = frames as i64 - 1;
        let rows: Vec<u32> = (-last..=last).map(|distance| self.buckets.bucket(distance) as u32).collect();
        let by_distance = self.table.index_select(&Tensor::new(rows, device)?, 0)?.t()?.contiguous()?;
        let queries = frames.min(QUERY_BLOCK);
        let window: Vec<u32> = (0..queries).rev().flat_map(|first| (first..first + frames).map(|i| i as u32)).collect();
        let window = Tensor::from_vec(window, (queries, frames), device)?;
        Ok(RelativeBias { by_distance, window, frames })
    }
}

impl RelativeBias {
    /// The biases of queries `start..start + queries`, `(heads, queries, frames)`.
    fn block(&self, start: usize, queries: usize) -> Result<Tensor> {
        // From the last query to the first key, up to from the first query to the last key.
        let distances = self.by_distance.narrow(1, self.frames - (start + queries), self.frames + queries - 1)?;
        let window = self.window.narrow(0, self.window.dim(0)? - queries, queries)?.flatten_all()?;
        distances.contiguous()?.index_select(&window, 1)?.reshape(((), queries, self.frames))
    }
}

impl Gates {
    /// Loads the gates of the attention in `vb`, if the model has them.
    pub(crate) fn load(vb: &VarBuilder, config: &Config) -> Result<Option<Self>> {
        if config.position_bias().is_none() {
            return Ok(None);
        }
        let (heads, head_dim, values) = (config.num_attention_heads, config.head_dim(), Buckets::GATE_VALUES);
        let f32 = |tensor: Tensor| tensor.to_dtype(DType::F32);
        let sums = |tensor: Tensor| f32(tensor)?.reshape((2, values / 2, ()))?.sum(1);
        let linear = vb.pp("gru_rel_pos_linear");
        Ok(Some(Gates {
            weight: sums(linear.get((values, head_dim), "weight")?)?.t()?.contiguous()?,
            bias: sums(linear.get(values, "bias")?)?.flatten_all()?,
            factor: f32(vb.get((1, heads, 1, 1), "gru_rel_pos_const")?)?.squeeze(0)?,
        }))
    }

    /// Gates `relative` by the input of the attention, `(batch, frames, hidden_size)`.
    pub(crate) fn gate<'a>(&self, relative: &'a RelativeBias, x: &Tensor) -> Result<GatedBias<'a>> {
        let (batch, frames, _) = x.dims3()?;
        let (heads, head_dim) = (self.factor.dim(0)?, self.weight.dim(0)?);
        let sums = x.to_dtype(DType::F32)?.reshape((batch * frames * heads, head_dim))?.matmul(&self.weight)?;
        let gates = sigmoid(&sums.broadcast_add(&self.bias)?)?.reshape((batch, frames, heads, 2))?.transpose(1, 2)?;
        let (first, second) = (gates.narrow(3, 0, 1)?, gates.narrow(3, 1, 1)?);
        let gates = (((second.broadcast_mul(&self.factor)? - 1.0)? * first)? + 2.0)?;
        Ok(GatedBias { relative, gates })
    }
}

impl GatedBias<'_> {
    /// The biases of the scores of queries `start..start + queries`, `(batch, heads, queries, frames)` in f32.
    pub(crate) fn block(&self, start: usize, queries: usize) -> Result<Tensor> {
        self.gates.narrow(2, start, queries)?.broadcast_mul(&self.relative.block(start, queries)?)
    }
}
