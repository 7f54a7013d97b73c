//! Compressed weights: the operations `constexpr_…` of MIL, which Core ML computes when it loads a package
//! (<https://apple.github.io/coremltools/docs-guides/source/opt-overview.html>), and whose results are constants here.
//!
//! - this file: the choice of the operation; `parameters.rs`: its parameters; `codes.rs`: packed whole numbers.
//! - `affine.rs`: one scale for each channel; `blockwise.rs`: one for each block; `palette.rs`: tables of values.
//! - `blocks.rs`: the blocks of a tensor that share a scale or a table.

mod affine;
mod blocks;
mod blockwise;
mod codes;
mod palette;
mod parameters;
#[cfg(test)]
mod tests;

use candle_core::{Device, Tensor};
use half::f16;

use self::parameters::Parameters;
use super::blob::BlobFile;
use super::proto;
use super::types::Element;
use super::value::Value;

/// A weight that was compressed.
pub(super) struct Weight {
    /// The values that Core ML multiplies with, in the type that the program declares.
    pub(super) value: Value,
    /// The form in which the package stores them, such as `int8 per channel`.
    pub(super) encoding: String,
}

/// The values of a decompressed weight.
struct Decompressed {
    element: Element,
    values: Vec<f32>,
    dims: Vec<usize>,
    encoding: String,
}

type Decompress = fn(&mut Parameters<'_>, &mut BlobFile) -> Result<Decompressed, String>;

/// The operations and the first operation set that has them.
const OPERATIONS: [(&str, u32, Decompress); 3] = [
    ("constexpr_affine_dequantize", 6, affine::decompress),
    ("constexpr_lut_to_dense", 6, palette::decompress),
    ("constexpr_blockwise_shift_scale", 8, blockwise::decompress),
];

/// Whether an operation of this kind is a compressed weight, supported or not.
pub(super) fn is_compressed_weight(kind: &str) -> bool {
    kind.starts_with("constexpr_")
}

/// Decompresses a weight of a program in operation set `opset`.
pub(super) fn decompress(
    operation: &proto::Operation,
    opset: u32,
    blobs: &mut BlobFile,
    device: &Device,
) -> Result<Weight, String> {
    let found = OPERATIONS.iter().find(|(kind, ..)| *kind == operation.r#type);
    let &(_, since, decompress) =
        found.ok_or("unsupported form of compressed weight; on a Mac --engine coreml runs it")?;
    if opset < since {
        return Err(format!("it is in operation set CoreML{since} and later, the program in CoreML{opset}"));
    }
    let mut parameters = Parameters::of(operation, opset)?;
    let Decompressed { element, mut values, dims, encoding } = decompress(&mut parameters, blobs)?;
    parameters.refuse_unused()?;
    if element == Element::F16 {
        // The result of the operation is fp16. It is computed once, when the package is loaded, so that it is part of the
        // weights and not of the arithmetic.
        values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
    }
    let tensor = Tensor::from_vec(values, dims, device).map_err(|e| e.to_string())?;
    Ok(Weight { value: Value::Float(element, tensor), encoding })
}
