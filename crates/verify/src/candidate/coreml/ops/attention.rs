//! Attention as one operation of MIL.

use super::call::{Call, Result, check_result_size};
use super::elementwise::{softmax_over_last, sqrt_of_last_extent};
use crate::candidate::coreml::value::Value;

/// Computes softmax(q·kᵀ / √width)·v without a mask, an operation of iOS 18 and later.
pub(super) fn scaled_dot_product_attention(call: &Call<'_>) -> Result<Value> {
    call.since(8)?;
    let q = call.float("query")?;
    let k = call.float_like("key", &q)?;
    let v = call.float_like("value", &q)?;
    let (&[batch, heads, frames, _], &[_, _, keys, _]) = (q.tensor.dims(), k.tensor.dims()) else {
        let (q, k) = (q.tensor.dims(), k.tensor.dims());
        return Err(format!("parameters `query` {q:?} and `key` {k:?} do not have four axes"));
    };
    check_result_size(&[batch, heads, frames, keys])?;
    let root = sqrt_of_last_extent(&q)?;
    q.result((|| {
        let logits = (q.tensor / root)?.contiguous()?.matmul(&k.tensor.transpose(2, 3)?.contiguous()?)?;
        softmax_over_last(&logits)?.matmul(&v.tensor.contiguous()?)
    })())
}
