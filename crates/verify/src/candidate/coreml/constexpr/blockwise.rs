//! `constexpr_blockwise_shift_scale`: scale · (code − offset), with one scale and offset for each block.

use super::Decompressed;
use super::blocks::{describe, for_each_run};
use super::parameters::Parameters;
use crate::candidate::coreml::blob::BlobFile;
use crate::candidate::coreml::types::{Code, Element};

pub(super) fn decompress(parameters: &mut Parameters<'_>, blobs: &mut BlobFile) -> Result<Decompressed, String> {
    let data = parameters.codes("data", &[Code::I4, Code::U4, Code::I8, Code::U8], blobs)?;
    let scale = parameters.floats("scale", blobs)?;
    let offset = if parameters.has("offset") { Some(parameters.codes("offset", &[data.code], blobs)?) } else { None };
    if let Some(offset) = offset.as_ref().filter(|offset| offset.dims != scale.dims) {
        return Err(format!("parameter `offset` has shape {:?}, `scale` {:?}", offset.dims, scale.dims));
    }
    let mut values = vec![0.0; data.values.len()];
    for_each_run(&data.dims, &scale.dims, |run, block| {
        let scale = scale.values[block];
        let offset = offset.as_ref().map_or(0, |offset| offset.values[block]);
        for (value, code) in values[run.clone()].iter_mut().zip(&data.values[run]) {
            *value = scale * f32::from(code - offset);
        }
    })?;
    let encoding = format!("{} {}", Element::Code(data.code).name(), describe(&data.dims, &scale.dims));
    Ok(Decompressed { element: scale.element, values, dims: data.dims, encoding })
}
