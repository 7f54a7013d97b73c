//! The bias of attention scores by the distance of query and key, in buckets: half for keys before the query, half for keys after
//! it; short distances have buckets of their own, longer ones share them by their logarithm.

use candle_core::Tensor;
use mert_arch::T5Config;

use crate::Result;

/// The biases `(heads, tokens, tokens)` for a text, from the table `(buckets, heads)`.
pub(crate) fn position_bias(config: &T5Config, table: &Tensor, tokens: usize) -> Result<Tensor> {
    let (buckets, farthest) = (config.relative_attention_num_buckets, config.relative_attention_max_distance);
    let positions = 0..tokens as i64;
    let indices: Vec<u32> = positions
        .clone()
        .flat_map(|query| positions.clone().map(move |key| bucket(key - query, buckets, farthest)))
        .collect();
    let indices = Tensor::from_vec(indices, tokens * tokens, table.device())?;
    let biases = table.index_select(&indices, 0)?.reshape((tokens, tokens, config.num_heads))?;
    Ok(biases.permute((2, 0, 1))?.contiguous()?)
}

/// The bucket of a key at this distance after the query, as `_relative_position_bucket` of transformers computes it: the
/// logarithm in f32.
fn bucket(distance: i64, buckets: usize, farthest: usize) -> u32 {
    let half = buckets as i64 / 2;
    let side = if distance > 0 { half } else { 0 };
    let (distance, exact) = (distance.abs(), half / 2);
    if distance < exact {
        return (side + distance) as u32;
    }
    let share = (distance as f32 / exact as f32).ln() / ((farthest as f64 / exact as f64).ln() as f32);
    let shared = exact + (share * (half - exact) as f32) as i64;
    (side + shared.min(half - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_of_t5_base() {
        // 32 buckets, 128 tokens: the values of transformers' _relative_position_bucket.
        let expected = [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (-8, 8),
            (-12, 9),
            (-16, 10),
            (-127, 15),
            (-1000, 15),
            (1, 17),
            (8, 24),
            (200, 31),
        ];
        for (distance, bucket_of) in expected {
            assert_eq!(bucket(distance, 32, 128), bucket_of, "{distance}");
        }
    }
}
