//! `constexpr_lut_to_dense`: the value of a table at each index.

use super::Decompressed;
use super::blocks::{describe, for_each_run};
use super::codes::Codes;
use super::parameters::{Floats, Parameters};
use crate::candidate::coreml::blob::BlobFile;
use crate::candidate::coreml::types::Code;

pub(super) fn decompress(parameters: &mut Parameters<'_>, blobs: &mut BlobFile) -> Result<Decompressed, String> {
    if parameters.opset >= 8 { in_blocks(parameters, blobs) } else { of_tensor(parameters, blobs) }
}

/// Up to iOS 17: one table, whose length gives the number of bits of the packed indices.
fn of_tensor(parameters: &mut Parameters<'_>, blobs: &mut BlobFile) -> Result<Decompressed, String> {
    let packed = parameters.codes("indices", &[Code::U8], blobs)?;
    let lut = parameters.floats("lut", blobs)?;
    let dims = parameters.extents("shape")?;
    let code = match lut.dims[..] {
        [2] => Code::U1,
        [4] => Code::U2,
        [16] => Code::U4,
        [64] => Code::U6,
        [256] => Code::U8,
        _ => return Err(format!("parameter `lut` has shape {:?}, expected [2], [4], [16], [64] or [256]", lut.dims)),
    };
    if packed.dims.len() != 1 {
        return Err(format!("parameter `indices` has shape {:?}, expected one axis of packed bytes", packed.dims));
    }
    let indices = packed.repacked(code, &dims).map_err(|reason| format!("parameter `indices`: {reason}"))?;
    look_up(&indices, &lut, &vec![1; dims.len()])
}

/// From iOS 18 on: a table for each block, and indices of their own type.
fn in_blocks(parameters: &mut Parameters<'_>, blobs: &mut BlobFile) -> Result<Decompressed, String> {
    let types = [Code::U1, Code::U2, Code::U3, Code::U4, Code::U6, Code::U8];
    let indices = parameters.codes("indices", &types, blobs)?;
    let lut = parameters.floats("lut", blobs)?;
    match &lut.dims[..] {
        [counts @ .., entries, 1] if counts.len() == indices.dims.len() && *entries == 1 << indices.code.bits() => {
            look_up(&indices, &lut, counts)
        }
        found => Err(format!(
            "parameter `lut` has shape {found:?}, expected {} extents, {} and 1",
            indices.dims.len(),
            1 << indices.code.bits()
        )),
    }
}

fn look_up(indices: &Codes, lut: &Floats, counts: &[usize]) -> Result<Decompressed, String> {
    let entries = 1 << indices.code.bits();
    let mut values = vec![0.0; indices.values.len()];
    for_each_run(&indices.dims, counts, |run, block| {
        let table = &lut.values[block * entries..][..entries];
        for (value, &index) in values[run.clone()].iter_mut().zip(&indices.values[run]) {
            *value = table[index.unsigned_abs() as usize];
        }
    })?;
    let encoding = format!("palettes of {entries} values {}", describe(&indices.dims, counts));
    Ok(Decompressed { element: lut.element, values, dims: indices.dims.clone(), encoding })
}
