//! The gated relative position bias of attention scores.

use mert_arch::PositionBias;

use super::Model;
use crate::write::coreml::graph::{Dim, Graph, Tensor};

/// The table of layer 0, which all layers use.
const TABLE: &str = "encoder.layers.0.attention.rel_attn_embed.weight";

impl Model<'_> {
    /// The bias before its gate, `(1, heads, frames, frames)`, for as many frames as `x` `(1, frames, hidden_size)` has.
    ///
    /// The package holds a row for each distance from 1 − `longest` to `longest` − 1 in place of one for each bucket, so that
    /// no logarithm is computed on the device. The row of query i and key j is j − i + `longest` − 1.
    pub(super) fn position_bias(&self, g: &mut Graph<'_>, x: &Tensor, bias: PositionBias) -> Tensor {
        let at = "encoder.position_bias";
        let longest = self.longest as i64;
        let rows = (1 - longest..longest).map(|distance| bias.bucket(distance)).collect();
        let table = g.rows(TABLE, rows, self.dtype);
        let table = g.transpose(&format!("{at}.heads"), &table, &[1, 0]);

        let queries = g.positions(&format!("{at}.queries"), x, 1);
        let keys = g.shift(&format!("{at}.keys"), &queries, self.longest as i32 - 1);
        let queries = g.expand_indices(&format!("{at}.queries.column"), &queries, 1);
        let keys = g.expand_indices(&format!("{at}.keys.row"), &keys, 0);
        let distances = g.differences(&format!("{at}.distances"), &keys, &queries);
        let bias = g.gather(&format!("{at}.values"), &table, &distances, 1);
        g.expand_dims(&format!("{at}.batch"), &bias, 0)
    }

    /// The bias of one layer: `bias` times the gate that the layer's attention at `at` computes of its input `x` for each head
    /// and query.
    pub(super) fn gated_bias(&self, g: &mut Graph<'_>, x: &Tensor, bias: &Tensor, at: &str) -> Tensor {
        let (heads, head_dim) = (Dim::Fixed(self.config.num_attention_heads), Dim::Fixed(self.config.head_dim()));
        let (frames, summed) = (x.dims[1], Dim::Fixed(PositionBias::GATE_VALUES / 2));
        let (gate, linear) = (format!("{at}.gate"), format!("{at}.gru_rel_pos_linear"));
        let x = g.reshape(&format!("{gate}.split"), x, vec![frames, heads, head_dim]);
        let x = g.linear(&linear, &x, &linear);
        let x = g.reshape(&format!("{gate}.halves"), &x, vec![frames, heads, Dim::Fixed(2), summed]);
        let x = g.reduce_sum(&format!("{gate}.sums"), &x, 3);
        let x = g.sigmoid(&format!("{gate}.sigmoid"), &x);
        let x = g.transpose(&format!("{gate}.heads"), &x, &[2, 1, 0]);
        let half = |g: &mut Graph<'_>, name: &str, i: usize| {
            let x = g.row(&format!("{gate}.{name}"), &x, i);
            g.expand_dims(&format!("{gate}.{name}.column"), &x, 3)
        };
        let (first, second) = (half(g, "first", 0), half(g, "second", 1));
        let second = g.mul_weight(&format!("{gate}.scaled"), &second, &format!("{at}.gru_rel_pos_const"));
        let second = g.add_number(&format!("{gate}.lowered"), &second, -1.0);
        let product = g.mul(&format!("{gate}.product"), &first, &second);
        let raised = g.add_number(&gate, &product, 2.0);
        g.mul(&format!("{at}.bias"), bias, &raised)
    }
}
