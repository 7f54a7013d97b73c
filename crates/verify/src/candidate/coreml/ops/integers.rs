//! Operations on int32: shapes, positions, and lookups by index.

use candle_core::Tensor;

use super::call::{Call, Result, axis, candle_message, check_result_size};
use crate::candidate::coreml::value::Value;

/// Returns the extents of a tensor.
pub(super) fn shape(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let extents: Option<Vec<i32>> = x.tensor.dims().iter().map(|&extent| i32::try_from(extent).ok()).collect();
    let extents = extents.ok_or("an extent exceeds int32")?;
    let rank = extents.len();
    Ok(Value::Ints(extents, vec![rank]))
}

/// Counts from `start` to `end`, exclusive, in steps of `step`.
pub(super) fn range_1d(call: &Call<'_>) -> Result<Value> {
    let (start, end, step) = (call.int("start")?, call.int("end")?, call.int("step")?);
    let step = usize::try_from(step).ok().filter(|&step| step > 0);
    let step = step.ok_or("parameter `step` is not positive, which is not supported")?;
    if start >= end {
        return Err(format!("it would be empty, from {start} to {end}"));
    }
    check_result_size(&[end.abs_diff(start) as usize])?;
    let values: Vec<i32> = (start..end).step_by(step).collect();
    let count = values.len();
    Ok(Value::Ints(values, vec![count]))
}

/// Takes the slices of `x` at `indices` along an axis, which the axes of `indices` replace.
pub(super) fn gather(call: &Call<'_>) -> Result<Value> {
    let (indices, index_dims) = call.int_tensor("indices")?;
    if call.optional_int("batch_dims")?.unwrap_or(0) != 0 {
        return Err("parameter `batch_dims` is not 0, which is not supported".into());
    }
    // Whether Core ML checks the indices, which are checked here in either case.
    call.optional_bool("validate_indices")?;
    let of = call.optional_int("axis")?.unwrap_or(0);
    let positions = |extent: usize| -> Result<Vec<u32>> {
        let position = |&index: &i32| u32::try_from(index).ok().filter(|&index| (index as usize) < extent);
        let outside = indices.iter().find(|index| position(index).is_none());
        match outside {
            // Negative indices count from the end up to iOS 16 only.
            Some(index) => Err(format!("index {index} is outside of the {extent} values of axis {of}")),
            None => Ok(indices.iter().filter_map(position).collect()),
        }
    };
    let result_dims = |dims: &[usize], of: usize| {
        let dims = [&dims[..of], index_dims, &dims[of + 1..]].concat();
        check_result_size(&dims).map(|()| dims)
    };
    if call.is_int("x") {
        let (values, dims) = call.int_tensor("x")?;
        let [extent] = dims else {
            return Err(format!("parameter `x` is int32 with {} axes, expected one", dims.len()));
        };
        let dims = result_dims(dims, axis(of, 1)?)?;
        return Ok(Value::Ints(positions(*extent)?.into_iter().map(|at| values[at as usize]).collect(), dims));
    }
    let x = call.float("x")?;
    let of = axis(of, x.tensor.rank())?;
    let dims = result_dims(x.tensor.dims(), of)?;
    let positions = positions(x.tensor.dims()[of])?;
    x.result((|| {
        let positions = Tensor::from_slice(&positions, positions.len(), x.tensor.device())?;
        x.tensor.contiguous()?.index_select(&positions, of)?.reshape(dims)
    })())
}

/// Inserts axes of extent 1.
pub(super) fn expand_dims(call: &Call<'_>) -> Result<Value> {
    let (values, dims) = call.int_tensor("x")?;
    let (axes, mut dims) = (call.ints("axes")?, dims.to_vec());
    let rank = dims.len() + axes.len();
    let mut axes: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("parameter `axes` names an axis twice".into());
    }
    axes.iter().for_each(|&axis| dims.insert(axis, 1));
    Ok(Value::Ints(values.to_vec(), dims))
}

/// Computes an operation of two operands, which are broadcast to each other.
pub(super) fn binary(call: &Call<'_>, compute: impl Fn(i32, i32) -> Option<i32>) -> Result<Value> {
    let ((x, x_dims), (y, y_dims)) = (call.int_tensor("x")?, call.int_tensor("y")?);
    let shape = candle_core::Shape::from(x_dims).broadcast_shape_binary_op(&y_dims.into(), "broadcast");
    let dims = shape.map_err(|e| candle_message(&e))?.into_dims();
    check_result_size(&dims)?;
    let (x_strides, y_strides) = (broadcast_strides(x_dims, dims.len()), broadcast_strides(y_dims, dims.len()));
    let values: Option<Vec<i32>> = (0..dims.iter().product())
        .map(|mut flat: usize| {
            let (mut at_x, mut at_y) = (0, 0);
            for ((&extent, x_stride), y_stride) in dims.iter().zip(&x_strides).zip(&y_strides).rev() {
                at_x += flat % extent * x_stride;
                at_y += flat % extent * y_stride;
                flat /= extent;
            }
            compute(*x.get(at_x)?, *y.get(at_y)?)
        })
        .collect();
    values.map(|values| Value::Ints(values, dims)).ok_or_else(|| "its result exceeds int32".into())
}

/// The strides of an operand in a result of `rank` axes: 0 along axes of extent 1.
fn broadcast_strides(dims: &[usize], rank: usize) -> Vec<usize> {
    let mut strides = vec![0; rank];
    let mut step = 1;
    for (stride, &extent) in strides.iter_mut().rev().zip(dims.iter().rev()) {
        *stride = if extent == 1 { 0 } else { step };
        step *= extent;
    }
    strides
}
