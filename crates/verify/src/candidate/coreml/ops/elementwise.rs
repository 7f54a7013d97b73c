//! Elementwise operations, and softmax.

use candle_core::{D, Result as CandleResult, Tensor};

use super::call::{Call, Float, Result, axis, candle_message};
use super::integers;
use crate::candidate::coreml::value::Value;

pub(super) fn add(call: &Call<'_>) -> Result<Value> {
    if call.is_int("x") {
        return integers::binary(call, i32::checked_add);
    }
    binary(call, |x, y| x.broadcast_add(y))
}

pub(super) fn sub(call: &Call<'_>) -> Result<Value> {
    if call.is_int("x") {
        return integers::binary(call, i32::checked_sub);
    }
    binary(call, |x, y| x.broadcast_sub(y))
}

pub(super) fn mul(call: &Call<'_>) -> Result<Value> {
    if call.is_int("x") {
        return integers::binary(call, i32::checked_mul);
    }
    binary(call, |x, y| x.broadcast_mul(y))
}

pub(super) fn real_div(call: &Call<'_>) -> Result<Value> {
    binary(call, |x, y| x.broadcast_div(y))
}

/// Computes an operation of two operands, one of which may be broadcast to the shape of the other. Broadcasting both,
/// which multiplies sizes, is refused.
fn binary(call: &Call<'_>, compute: impl Fn(&Tensor, &Tensor) -> CandleResult<Tensor>) -> Result<Value> {
    let x = call.float("x")?;
    let y = call.float_like("y", &x)?;
    let result =
        x.tensor.shape().broadcast_shape_binary_op(y.tensor.shape(), "broadcast").map_err(|e| candle_message(&e))?;
    if result.dims() != x.tensor.dims() && result.dims() != y.tensor.dims() {
        return Err(format!("neither `x` {:?} nor `y` {:?} has the result's shape", x.tensor.dims(), y.tensor.dims()));
    }
    x.result(compute(x.tensor, y.tensor))
}

pub(super) fn gelu(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    match call.optional_text("mode")?.unwrap_or("EXACT") {
        "EXACT" => x.result(x.tensor.gelu_erf()),
        "TANH_APPROXIMATION" => x.result(x.tensor.gelu()),
        other => Err(format!("parameter `mode` is `{other}`, expected EXACT or TANH_APPROXIMATION")),
    }
}

pub(super) fn square(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    x.result(x.tensor.sqr())
}

pub(super) fn sqrt(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    x.result(x.tensor.sqrt())
}

pub(super) fn relu(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    x.result(x.tensor.relu())
}

/// Computes 1 / (1 + exp(−x)).
pub(super) fn sigmoid(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    x.result((|| (x.tensor.neg()?.exp()? + 1.0)?.recip())())
}

pub(super) fn softmax(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let axis = axis(call.optional_int("axis")?.unwrap_or(-1), x.tensor.rank())?;
    if axis + 1 != x.tensor.rank() {
        return Err(format!("parameter `axis` is {axis}, expected the last one"));
    }
    x.result(softmax_over_last(x.tensor))
}

/// Computes the softmax over the last axis, exp(x − max) / Σ exp(x − max).
pub(super) fn softmax_over_last(x: &Tensor) -> CandleResult<Tensor> {
    let exponentials = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// The square root of the last extent, by which attention scales its logits.
pub(super) fn sqrt_of_last_extent(x: &Float<'_>) -> Result<f64> {
    Ok((x.tensor.dim(D::Minus1).map_err(|e| candle_message(&e))? as f64).sqrt())
}
