//! Reductions: mean, maximum and sum over axes.

use candle_core::{Result as CandleResult, Tensor};

use super::call::{Call, Result, axis};
use crate::candidate::coreml::value::Value;

pub(super) fn mean(call: &Call<'_>) -> Result<Value> {
    reduce(call, |x, axis| x.mean_keepdim(axis))
}

pub(super) fn max(call: &Call<'_>) -> Result<Value> {
    reduce(call, |x, axis| x.max_keepdim(axis))
}

pub(super) fn sum(call: &Call<'_>) -> Result<Value> {
    reduce(call, |x, axis| x.sum_keepdim(axis))
}

/// Reduces axes one after the other, which for means, maxima and sums is the same as all at once.
fn reduce(call: &Call<'_>, compute: impl Fn(&Tensor, usize) -> CandleResult<Tensor>) -> Result<Value> {
    let x = call.float("x")?;
    let rank = x.tensor.rank();
    let mut axes: Vec<usize> = call.ints("axes")?.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    axes.sort_unstable();
    axes.dedup();
    let reduced = axes.iter().try_fold(x.tensor.clone(), |x, &axis| compute(&x, axis));
    let keep = call.optional_bool("keep_dims")?.unwrap_or(false);
    let squeeze = |x: Tensor| axes.iter().rev().try_fold(x, |x, &axis| x.squeeze(axis));
    x.result(if keep { reduced } else { reduced.and_then(squeeze) })
}
