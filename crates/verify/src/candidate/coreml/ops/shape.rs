//! Operations that change shapes or types, not values.

use candle_core::Tensor;

use super::call::{Call, Result, axis, check_result_size, result};
use super::integers;
use crate::candidate::coreml::types::Element;
use crate::candidate::coreml::value::Value;

pub(super) fn identity(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    x.result(Ok(x.tensor.clone()))
}

/// Changes the declared type only: values are held in f32 in either case.
pub(super) fn cast(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let to = match call.text("dtype")? {
        "fp16" => Element::F16,
        "fp32" => Element::F32,
        other => return Err(format!("parameter `dtype` is `{other}`, expected fp16 or fp32")),
    };
    result(to, Ok(x.tensor.clone()))
}

pub(super) fn expand_dims(call: &Call<'_>) -> Result<Value> {
    if call.is_int("x") {
        return integers::expand_dims(call);
    }
    let x = call.float("x")?;
    let axes = call.ints("axes")?;
    let rank = x.tensor.rank() + axes.len();
    let mut axes: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    axes.sort_unstable();
    x.result(axes.iter().try_fold(x.tensor.clone(), |x, &axis| x.unsqueeze(axis)))
}

pub(super) fn transpose(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let (perm, rank) = (call.ints("perm")?, x.tensor.rank());
    let perm: Vec<usize> = perm.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        return Err(format!("parameter `perm` is {perm:?}, expected a permutation of {rank} axes"));
    }
    x.result(x.tensor.permute(perm).and_then(|x| x.contiguous()))
}

/// Reshapes a tensor. One extent may be −1, which is inferred; 0 keeps the operand's extent.
pub(super) fn reshape(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let shape = call.ints("shape")?;
    let mut dims = Vec::new();
    let mut open = None;
    for (i, &extent) in shape.iter().enumerate() {
        dims.push(match extent {
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0 => x.tensor.dims().get(i).copied().unwrap_or_default(),
            1.. => extent.unsigned_abs() as usize,
            _ => return Err(format!("parameter `shape` is {shape:?}, expected extents, one of which may be -1")),
        });
    }
    let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)).filter(|&count| count > 0);
    let count = count.ok_or_else(|| format!("parameter `shape` is {shape:?}, which is empty or too large"))?;
    if let Some(open) = open {
        dims[open] = x.tensor.elem_count() / count;
    }
    x.result(x.tensor.reshape(dims))
}

pub(super) fn concat(call: &Call<'_>) -> Result<Value> {
    let (element, values) = call.floats("values")?;
    let axis = axis(call.int("axis")?, values[0].rank())?;
    if call.optional_bool("interleave")?.unwrap_or(false) {
        return Err("parameter `interleave` is true, which is not supported".into());
    }
    let mut dims = values[0].dims().to_vec();
    dims[axis] =
        values.iter().fold(0, |sum: usize, value| sum.saturating_add(value.dims().get(axis).copied().unwrap_or(1)));
    check_result_size(&dims)?;
    result(element, Tensor::cat(&values, axis))
}

/// Computes `x[begin:end]` along each axis; a mask marks axes without a bound.
pub(super) fn slice_by_index(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let rank = x.tensor.rank();
    let (begin, end) = (call.ints("begin")?, call.ints("end")?);
    let (begin_mask, end_mask) = (call.optional_bools("begin_mask")?, call.optional_bools("end_mask")?);
    if call.optional_ints("stride")?.is_some_and(|stride| stride.iter().any(|&step| step != 1)) {
        return Err("parameter `stride` is not 1 everywhere, which is not supported".into());
    }
    let masked = |mask: Option<&[bool]>, i: usize| mask.is_some_and(|mask| mask.get(i).copied().unwrap_or(false));
    if begin.len() != rank || end.len() != rank {
        return Err(format!("it has bounds for {} and {} axes, the operand has {rank}", begin.len(), end.len()));
    }
    let mut y = x.tensor.clone();
    for i in 0..rank {
        let extent = x.tensor.dims()[i];
        let bound = |value: i32| {
            let value = if value < 0 { i64::from(value) + extent as i64 } else { i64::from(value) };
            usize::try_from(value).ok().filter(|&value| value <= extent)
        };
        let first = if masked(begin_mask, i) { Some(0) } else { bound(begin[i]) };
        let last = if masked(end_mask, i) { Some(extent) } else { bound(end[i]) };
        let (Some(first), Some(last)) = (first, last) else {
            return Err(format!("axis {i} is sliced from {} to {}, but has {extent} elements", begin[i], end[i]));
        };
        if first >= last {
            return Err(format!("axis {i} would be empty"));
        }
        y = y.narrow(i, first, last - first).map_err(|e| e.to_string())?;
    }
    x.result(y.contiguous())
}
