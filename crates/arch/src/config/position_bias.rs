//! The gated relative position bias of the attention scores: its buckets and tensors.

use crate::inventory::{Role, TensorList};

/// The gated relative position bias of WavLM's attention scores
/// ([Chen et al. 2021](https://arxiv.org/abs/2110.13900), section III.B; the buckets are T5's).
///
/// With d = key − query, P\[h, d\] = `rel_attn_embed`\[[`bucket`](PositionBias::bucket)(d), h\], from layer 0's table in every
/// layer. Each layer gates it by its attention's input x: u = W·xₕ + b (8 values for the slice xₕ of head h), sₐ the sum of
/// the first four, s_b that of the last four, gate = σ(sₐ)·(σ(s_b)·constₕ − 1) + 2. The score of query i and key j is
/// q·k / √head_dim + gate\[h, i\]·P\[h, j − i\].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionBias {
    /// Rows of the table: half of them for keys after the query.
    pub num_buckets: usize,
    /// Distance in frames from which on all keys share the last bucket of their side.
    pub max_distance: usize,
}

impl PositionBias {
    /// The values of a head's gate projection: the first half are summed for the one gate, the others for the other.
    pub const GATE_VALUES: usize = 8;

    /// The row of the table for a key `distance` frames after the query; before it, if negative.
    ///
    /// It is transformers' `WavLMAttention._relative_positions_bucket`, whose float arithmetic gives the same rows as f64
    /// up to 20000 frames.
    pub fn bucket(self, distance: i64) -> usize {
        let side = self.num_buckets / 2;
        let exact = side / 2;
        let after = if distance > 0 { side } else { 0 };
        let distance = distance.unsigned_abs();
        if distance < exact as u64 {
            return after + distance as usize;
        }
        let octaves = (distance as f64 / exact as f64).ln() / (self.max_distance as f64 / exact as f64).ln();
        let row = exact + (octaves * (side - exact) as f64) as usize;
        after + row.min(side - 1)
    }

    /// Adds the tensors of the attention in layer `layer`, at `path`.
    pub(crate) fn add_tensors(self, path: &str, layer: usize, heads: usize, head_dim: usize, tensors: &mut TensorList) {
        tensors.push(format!("{path}.gru_rel_pos_const"), &[1, heads, 1, 1], Role::Gate);
        tensors.linear(&format!("{path}.gru_rel_pos_linear"), head_dim, PositionBias::GATE_VALUES);
        if layer == 0 {
            tensors.push(format!("{path}.rel_attn_embed.weight"), &[self.num_buckets, heads], Role::Embedding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `WavLMAttention._relative_positions_bucket` in transformers 5.23.
    #[test]
    fn the_buckets_of_transformers() {
        let published = PositionBias { num_buckets: 320, max_distance: 800 };
        for (distance, bucket) in
            [(0, 0), (-1, 1), (-79, 79), (-80, 80), (1, 161), (79, 239), (80, 240), (-777, 158), (-778, 159)]
        {
            assert_eq!(published.bucket(distance), bucket, "{distance}");
        }
        assert_eq!((published.bucket(5000), published.bucket(i64::MIN)), (319, 159));
    }
}
