//! `constexpr_affine_dequantize`: scale · (code − zero point), with one scale and zero point for each place along an axis.

use super::Decompressed;
use super::blocks::{describe, for_each_run};
use super::parameters::Parameters;
use crate::candidate::coreml::blob::BlobFile;
use crate::candidate::coreml::types::{Code, Element};

pub(super) fn decompress(parameters: &mut Parameters<'_>, blobs: &mut BlobFile) -> Result<Decompressed, String> {
    if parameters.opset >= 8 {
        return Err("in CoreML8 it is constexpr_blockwise_shift_scale".into());
    }
    let data = parameters.codes("quantized_data", &[Code::I8, Code::U8], blobs)?;
    let zero_point = parameters.codes("zero_point", &[data.code], blobs)?;
    let scale = parameters.floats("scale", blobs)?;
    let axis = parameters.int("axis", blobs)?;
    let rank = data.dims.len();
    let from_front = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
    let axis = usize::try_from(from_front).ok().filter(|&axis| axis < rank);
    let axis = axis.ok_or_else(|| format!("axis {from_front} does not exist: the weight has {rank}"))?;
    for (parameter, dims) in [("scale", &scale.dims), ("zero_point", &zero_point.dims)] {
        if !dims.is_empty() && dims[..] != [data.dims[axis]] {
            let expected = data.dims[axis];
            return Err(format!("parameter `{parameter}` has shape {dims:?}, expected one value or [{expected}]"));
        }
    }
    let mut counts = vec![1; rank];
    counts[axis] = data.dims[axis];
    let mut values = vec![0.0; data.values.len()];
    for_each_run(&data.dims, &counts, |run, place| {
        let scale = scale.values[place.min(scale.values.len() - 1)];
        let zero_point = zero_point.values[place.min(zero_point.values.len() - 1)];
        for (value, code) in values[run.clone()].iter_mut().zip(&data.values[run]) {
            *value = scale * f32::from(code - zero_point);
        }
    })?;
    let blocks = if scale.dims.is_empty() { "per tensor".into() } else { describe(&data.dims, &counts) };
    let encoding = format!("{} {blocks}", Element::Code(data.code).name());
    Ok(Decompressed { element: scale.element, values, dims: data.dims, encoding })
}
