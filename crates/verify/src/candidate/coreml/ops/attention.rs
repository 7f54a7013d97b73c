//! Attention as one operation of MIL.

use super::call::{Call, Float, Result, candle_message, check_result_size};
use super::elementwise::{softmax_over_last, sqrt_of_last_extent};
use crate::candidate::coreml::value::Value;

/// Computes softmax(q·kᵀ / √width + mask)·v, an operation of iOS 18 and later. The mask is of floats.
pub(super) fn scaled_dot_product_attention(call: &Call<'_>) -> Result<Value> {
    call.since(8)?;
    let q = call.float("query")?;
    let k = call.float_like("key", &q)?;
    let v = call.float_like("value", &q)?;
    let mask = call.optional_float_like("attn_mask", &q)?;
    let (&[batch, heads, frames, _], &[_, _, keys, _]) = (q.tensor.dims(), k.tensor.dims()) else {
        let (q, k) = (q.tensor.dims(), k.tensor.dims());
        return Err(format!("parameters `query` {q:?} and `key` {k:?} do not have four axes"));
    };
    let scores = [batch, heads, frames, keys];
    check_result_size(&scores)?;
    if let Some(mask) = &mask {
        check_mask(mask, &scores)?;
    }
    let root = sqrt_of_last_extent(&q)?;
    q.result((|| {
        let mut logits = (q.tensor / root)?.contiguous()?.matmul(&k.tensor.transpose(2, 3)?.contiguous()?)?;
        if let Some(mask) = &mask {
            logits = logits.broadcast_add(mask.tensor)?;
        }
        softmax_over_last(&logits)?.matmul(&v.tensor.contiguous()?)
    })())
}

/// Checks that a mask can be broadcast to the shape of the scores.
fn check_mask(mask: &Float<'_>, scores: &[usize]) -> Result<()> {
    let shape = mask.tensor.shape().broadcast_shape_binary_op(&scores.into(), "broadcast");
    if shape.map_err(|e| candle_message(&e))?.dims() == scores {
        return Ok(());
    }
    Err(format!("parameter `attn_mask` {:?} does not go with scores {scores:?}", mask.tensor.dims()))
}
