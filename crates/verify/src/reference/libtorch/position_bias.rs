//! WavLM's gated relative position bias, after transformers'
//! [`WavLMAttention`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/wavlm/modeling_wavlm.py).
//! The buckets are computed as there, in libtorch's operations, not by the formula that the runtime uses.

use mert_arch::PositionBias;
use tch::{Device, Kind, TchError, Tensor};

use super::tensors::{Affine, BuildError, Loader};

/// The bias of all layers before their gates, from layer 0's table `(buckets, heads)`.
pub(super) struct BiasTable {
    table: Tensor,
    max_distance: usize,
}

impl BiasTable {
    pub(super) fn load(bias: PositionBias, loader: &Loader) -> Result<Self, BuildError> {
        let table = loader.rounded("encoder.layers.0.attention.rel_attn_embed.weight")?;
        Ok(BiasTable { table, max_distance: bias.max_distance })
    }

    /// The bias `(heads, query, key)` of a clip of this many frames.
    pub(super) fn of_frames(&self, frames: i64) -> Result<Tensor, TchError> {
        let positions = Tensor::f_arange(frames, (Kind::Int64, Device::Cpu))?;
        let key_minus_query = positions.f_unsqueeze(0)?.f_sub(&positions.f_unsqueeze(1)?)?;
        let rows = self.buckets(&key_minus_query)?;
        let values = self.table.f_index_select(0, &rows.f_reshape([-1])?)?;
        values.f_view([frames, frames, -1])?.f_permute([2, 0, 1])
    }

    /// The row of the table for each distance from query to key.
    fn buckets(&self, key_minus_query: &Tensor) -> Result<Tensor, TchError> {
        // Half of the rows are for keys after the query. Half of those are for one distance each, the others for
        // distances of equal ratios.
        let side = self.table.size2()?.0 / 2;
        let exact = side / 2;
        let after = key_minus_query.f_gt(0)?.f_to_kind(Kind::Int64)?.f_mul_scalar(side)?;
        let distance = key_minus_query.f_abs()?;
        let ratio = distance.f_to_kind(Kind::Float)?.f_div_scalar(exact)?.f_log()?;
        let whole = (self.max_distance as f64 / exact as f64).ln();
        let far = ratio.f_div_scalar(whole)?.f_mul_scalar(side - exact)?.f_add_scalar(exact)?;
        // The distance 0 is -inf here, and is not taken from here.
        let far = far.f_to_kind(Kind::Int64)?.f_clamp_max(side - 1)?;
        distance.f_where_self(&distance.f_lt(exact)?, &far)?.f_add(&after)
    }
}

/// The gate that a layer applies to the bias.
pub(super) struct BiasGate {
    constant: Tensor,
    linear: Affine,
}

impl BiasGate {
    /// Loads the gate of the attention at `path`.
    pub(super) fn load(path: &str, loader: &Loader) -> Result<Self, BuildError> {
        Ok(BiasGate {
            constant: loader.rounded(&format!("{path}.gru_rel_pos_const"))?,
            linear: loader.affine(&format!("{path}.gru_rel_pos_linear"), true)?,
        })
    }

    /// Computes the gate `(batch, heads, query, 1)` from the attention's input `(batch, frames, width)`.
    pub(super) fn of_input(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (batch, frames, _) = x.size3()?;
        let heads = self.constant.size4()?.1;
        let of_heads = x.f_view([batch, frames, heads, -1])?.f_permute([0, 2, 1, 3])?;
        let sums = self.linear.linear(&of_heads)?.f_view([batch, heads, frames, 2, 4])?.f_sum_dim_intlist(
            [-1i64].as_slice(),
            false,
            None::<Kind>,
        )?;
        let gates = sums.f_sigmoid()?;
        let (a, b) = (gates.f_narrow(-1, 0, 1)?, gates.f_narrow(-1, 1, 1)?);
        a.f_mul(&b.f_mul(&self.constant)?.f_sub_scalar(1.0)?)?.f_add_scalar(2.0)
    }
}
