use super::elementwise::{root_of_last, softmax_over_last};
use super::{Call, Result, demand_room};
use crate::candidate::package::value::Value;

/// softmax(q·kᵀ / √width)·v, from iOS 18 on; without a mask.
pub(super) fn scaled_dot_product_attention(call: &Call<'_>) -> Result<Value> {
    call.since(8)?;
    let q = call.float("query")?;
    let k = call.float_like("key", &q)?;
    let v = call.float_like("value", &q)?;
    let (&[batch, heads, frames, _], &[_, _, keys, _]) = (q.tensor.dims(), k.tensor.dims()) else {
        let (q, k) = (q.tensor.dims(), k.tensor.dims());
        return Err(format!("parameters `query` {q:?} and `key` {k:?} do not have four axes"));
    };
    demand_room(&[batch, heads, frames, keys])?;
    let root = root_of_last(&q)?;
    q.result((|| {
        let logits = (q.tensor / root)?.contiguous()?.matmul(&k.tensor.transpose(2, 3)?.contiguous()?)?;
        softmax_over_last(&logits)?.matmul(&v.tensor.contiguous()?)
    })())
}
