//! Linear operations: products of matrices, and convolution.

use candle_core::Result as CandleResult;

use super::call::{Call, Float, Result, candle_message, check_result_size, single_number};
use crate::candidate::coreml::value::Value;

/// Computes x·Wᵀ + b over the last axis; `weight` is `(out, in)`.
pub(super) fn linear(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let weight = call.float_like("weight", &x)?;
    let bias = call.optional_float_like("bias", &x)?;
    check_rank("weight", &weight, 2)?;
    check_matrix("x", &x)?;
    x.result((|| {
        let y = x.tensor.broadcast_matmul(&weight.tensor.t()?)?;
        add_bias(y, bias.as_ref(), 0)
    })())
}

/// Adds a bias per channel; `axes_after` axes follow the channels.
fn add_bias(y: candle_core::Tensor, bias: Option<&Float<'_>>, axes_after: usize) -> CandleResult<candle_core::Tensor> {
    match bias {
        Some(bias) => {
            let mut dims = vec![bias.tensor.elem_count()];
            dims.extend(vec![1; axes_after]);
            // A bias of one value would be broadcast to all channels.
            let channels = y.dims()[y.rank() - 1 - axes_after];
            if bias.tensor.dims() != [channels] {
                candle_core::bail!("`bias` has shape {:?} for {channels} channels", bias.tensor.dims());
            }
            y.broadcast_add(&bias.tensor.reshape(dims)?)
        }
        None => Ok(y),
    }
}

pub(super) fn matmul(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let y = call.float_like("y", &x)?;
    let transposed_if = |operand: &Float<'_>, transposed: bool| -> CandleResult<_> {
        if transposed {
            operand.tensor.transpose(candle_core::D::Minus2, candle_core::D::Minus1)
        } else {
            Ok(operand.tensor.clone())
        }
    };
    let (transpose_x, transpose_y) = (call.optional_bool("transpose_x")?, call.optional_bool("transpose_y")?);
    check_matrix("x", &x)?;
    check_matrix("y", &y)?;
    let left = transposed_if(&x, transpose_x.unwrap_or(false)).map_err(|e| candle_message(&e))?;
    let right = transposed_if(&y, transpose_y.unwrap_or(false)).map_err(|e| candle_message(&e))?;
    let mut dims = left.dims().to_vec();
    dims.extend(right.dims().last());
    dims.remove(left.rank() - 1);
    check_result_size(&dims)?;
    x.result(left.contiguous().and_then(|left| left.broadcast_matmul(&right.contiguous()?)))
}

/// Computes a one-dimensional convolution (cross-correlation) of `(batch, in, frames)`; `weight` is
/// `(out, in / groups, kernel)`.
pub(super) fn conv(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let weight = call.float_like("weight", &x)?;
    let bias = call.optional_float_like("bias", &x)?;
    check_rank("x", &x, 3)?;
    check_rank("weight", &weight, 3)?;
    let stride = call.optional_ints("strides")?.map_or(Ok(1), |strides| single_number("strides", strides, 1))?;
    let dilation =
        call.optional_ints("dilations")?.map_or(Ok(1), |dilations| single_number("dilations", dilations, 1))?;
    let groups = single_number("groups", &[call.optional_int("groups")?.unwrap_or(1)], 1)?;
    let pad = call.optional_ints("pad")?.unwrap_or(&[0, 0]);
    let (before, after) = match (call.optional_text("pad_type")?.unwrap_or("valid"), pad) {
        ("valid", _) => (0, 0),
        ("custom", &[before, after]) if before >= 0 && after >= 0 => (before as usize, after as usize),
        (pad_type, pad) => {
            return Err(format!("parameters `pad_type` {pad_type} and `pad` {pad:?} do not go together"));
        }
    };
    let (channels, kernel) = (x.tensor.dims()[1], weight.tensor.dims()[2]);
    let outputs = weight.tensor.dims()[0];
    if weight.tensor.dims()[1].checked_mul(groups) != Some(channels) || !outputs.is_multiple_of(groups) {
        return Err(format!(
            "`weight` {:?} and {groups} groups do not go with {channels} channels",
            weight.tensor.dims()
        ));
    }
    // More padding than the kernel reaches would give frames that hold the bias only.
    if before.max(after) > kernel.saturating_mul(dilation) {
        return Err(format!("parameter `pad` is {pad:?}, more than a kernel of {kernel} reaches"));
    }
    let padded = x.tensor.dims()[2] + before + after;
    if (kernel - 1).checked_mul(dilation).is_none_or(|reach| reach >= padded) {
        return Err(format!("a kernel of {kernel} does not fit into {padded} frames"));
    }
    check_result_size(&[x.tensor.dims()[0], outputs, padded / stride])?;
    x.result((|| {
        let padded = x.tensor.pad_with_zeros(2, before, after)?.contiguous()?;
        let y = padded.conv1d(&weight.tensor.contiguous()?, 0, stride, dilation, groups)?;
        add_bias(y, bias.as_ref(), 1)
    })())
}

/// Checks that an operand has the two axes of a matrix.
fn check_matrix(parameter: &str, operand: &Float<'_>) -> Result<()> {
    if operand.tensor.rank() >= 2 {
        return Ok(());
    }
    Err(format!("parameter `{parameter}` has shape {:?}, expected at least two axes", operand.tensor.dims()))
}

fn check_rank(parameter: &str, operand: &Float<'_>, rank: usize) -> Result<()> {
    if operand.tensor.rank() == rank {
        return Ok(());
    }
    Err(format!("parameter `{parameter}` has shape {:?}, expected {rank} axes", operand.tensor.dims()))
}
