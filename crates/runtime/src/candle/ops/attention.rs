//! Scaled dot-product attention, a block of queries at a time.

use candle_core::{DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

/// Queries of a block. It bounds the scores in memory to `QUERY_BLOCK × frames` for each head, so that memory grows
/// with the clip's length and not with its square.
pub(crate) const QUERY_BLOCK: usize = 512;

/// Computes softmax(q·kᵀ + bias)·v for each head, over all frames.
///
/// `q`, `k` and `v` are `(batch, heads, frames, head_dim)`; `q` already carries the factor
/// 1/√head_dim. With `relax` = r the logits z become (z / r) · r: the same softmax, with q·kᵀ smaller by r while
/// it is in the activations' dtype.
///
/// `bias` returns the bias of the scores of some queries, from the first of them and their number, as
/// `(batch, heads, queries, frames)` in f32; `None` for no bias.
pub(crate) fn scaled_dot_product_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    bias: impl Fn(usize, usize) -> Result<Option<Tensor>>,
    relax: Option<f64>,
) -> Result<Tensor> {
    let frames = q.dim(2)?;
    let k_transposed = k.transpose(2, 3)?.contiguous()?;
    let v = v.contiguous()?;
    let mut blocks = Vec::with_capacity(frames.div_ceil(QUERY_BLOCK));
    for start in (0..frames).step_by(QUERY_BLOCK) {
        let queries = QUERY_BLOCK.min(frames - start);
        let q = q.narrow(2, start, queries)?.contiguous()?;
        let q = match relax {
            Some(relax) => (q / relax)?,
            None => q,
        };
        let logits = q.matmul(&k_transposed)?.to_dtype(DType::F32)?;
        let logits = match bias(start, queries)? {
            Some(bias) => (logits + (bias / relax.unwrap_or(1.0))?)?,
            None => logits,
        };
        let logits = match relax {
            Some(relax) => (logits * relax)?,
            None => logits,
        };
        blocks.push(softmax_last_dim(&logits)?.to_dtype(v.dtype())?.matmul(&v)?);
    }
    Tensor::cat(&blocks, 2)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn agrees_with_the_definition_in_f64_across_blocks() {
        let (heads, frames, width) = (2, QUERY_BLOCK + 37, 4);
        let values = |seed: usize| -> Vec<f32> {
            (0..heads * frames * width).map(|i| ((i * 7919 + seed * 31) % 997) as f32 / 250.0 - 2.0).collect()
        };
        let (q, k, v) = (values(1), values(2), values(3));
        let tensor = |x: &[f32]| Tensor::from_slice(x, (1, heads, frames, width), &Device::Cpu).unwrap();
        let biased = |h: usize, t: usize, s: usize| ((h * 31 + t * 7 + s * 3) % 13) as f32 / 4.0 - 1.5;
        for (relax, is_biased) in [(None, false), (Some(24.0), false), (None, true), (Some(24.0), true)] {
            let bias = |start: usize, queries: usize| -> Result<Option<Tensor>> {
                let index = |i: usize| (i / frames / queries, start + i / frames % queries, i % frames);
                let values = (0..heads * queries * frames).map(index).map(|(h, t, s)| biased(h, t, s));
                let values = Tensor::from_vec(values.collect(), (1, heads, queries, frames), &Device::Cpu)?;
                Ok(is_biased.then_some(values))
            };
            let y = scaled_dot_product_attention(&tensor(&q), &tensor(&k), &tensor(&v), bias, relax).unwrap();
            let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for h in 0..heads {
                for t in [0, 1, QUERY_BLOCK - 1, QUERY_BLOCK, frames - 1] {
                    let at = |x: &[f32], frame: usize, c: usize| f64::from(x[(h * frames + frame) * width + c]);
                    let score = |s: usize| (0..width).map(|c| at(&q, t, c) * at(&k, s, c)).sum::<f64>();
                    let bias = |s: usize| if is_biased { f64::from(biased(h, t, s)) } else { 0.0 };
                    let logits: Vec<f64> = (0..frames).map(|s| score(s) + bias(s)).collect();
                    let max = logits.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for c in 0..width {
                        let expected: f64 = (0..frames).map(|s| weights[s] / sum * at(&v, s, c)).sum();
                        approx::assert_abs_diff_eq!(at(&y, t, c), expected, epsilon = 1e-5);
                    }
                }
            }
        }
    }
}
