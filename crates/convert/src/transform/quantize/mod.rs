//! The quantization of a matrix's rows: the bytes that MLX's `mx.quantize` returns on the CPU.
//!
//! - this file: the transform, on whole rows, and its checks.
//! - `affine.rs`: the mode `affine`, a scale and a bias for each group.
//! - `microscaling.rs`: the modes `mxfp4`, `mxfp8` and `nvfp4`, codes that are small floats.
//! - `decode.rs`: the values that a reader gets of quantized rows.
//! - `pack.rs`: the bits of the codes in the packed weight.

mod affine;
mod decode;
mod microscaling;
mod pack;
#[cfg(test)]
mod tests;

use half::{bf16, f16};
use mert_arch::{Dtype, Quantization, QuantizationMode};
use serde::Serialize;

use super::finite::check_finite;
use super::span::Span;
use crate::{ConvertError, Result};

/// Quantizes a matrix as `mx.quantize(w.astype(float), group_size, bits, mode)` of MLX 0.32.4 does on the CPU, bit for bit.
///
/// Each group of `group_size` consecutive values of a row is encoded by itself, so that any whole rows can be encoded
/// apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantize {
    /// The mode, the width of a code and the size of a group.
    pub quantization: Quantization,
    /// The type that the values have been rounded to, in which affine scales and biases are stored.
    pub float: Dtype,
}

/// Quantized rows: little-endian bytes, each part row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuantizedRows {
    /// The codes, a little-endian bit stream of `bits` bits each: a row is `columns · bits / 32` u32 words.
    pub weight: Vec<u8>,
    /// The scales, one for each group: in the float type, or of one byte in modes without biases.
    pub scales: Vec<u8>,
    /// The biases, one for each group, in the float type; empty in modes without biases.
    pub biases: Vec<u8>,
}

impl Quantize {
    /// Replaces `out` with the quantized form of whole rows of `columns` values, which are the tensor's `span` and have been
    /// rounded to the float type.
    ///
    /// # Errors
    /// [`ConvertError::NotFinite`] with the first NaN or infinity; [`ConvertError::QuantizationRange`] with the first group
    /// whose scale cannot be stored; [`ConvertError::QuantizationShape`] if the values are not whole rows of whole groups.
    pub fn apply(&self, span: Span<'_>, columns: usize, values: &[f32], out: &mut QuantizedRows) -> Result<()> {
        self.check_shape(span, columns, values.len())?;
        check_finite(span, values)?;
        let Quantization { mode, bits, group_size } = self.quantization;
        out.weight.resize(values.len() / 8 * bits, 0);
        out.scales.clear();
        out.biases.clear();
        let encoded = match mode {
            QuantizationMode::Affine => affine::quantize(bits, group_size, values, &mut out.weight, |scale, bias| {
                push(self.float, scale, &mut out.scales);
                push(self.float, bias, &mut out.biases);
            }),
            QuantizationMode::Mxfp4 | QuantizationMode::Mxfp8 | QuantizationMode::Nvfp4 => {
                microscaling::quantize(mode, self.float, values, &mut out.weight, &mut out.scales)
            }
        };
        encoded.map_err(|(group, reason)| range_error(span, values, group * group_size, group_size, reason))
    }

    fn check_shape(&self, span: Span<'_>, columns: usize, len: usize) -> Result<()> {
        let error = |reason| Err(ConvertError::QuantizationShape { name: span.tensor.to_string(), reason });
        // The plan has checked this; a caller of this type alone may not have.
        let Quantization { mode, bits, group_size } = self.quantization;
        if let Err(reason) = Quantization::new(mode, bits, group_size).and_then(|known| known.check_inputs(columns)) {
            return error(reason);
        }
        if !len.is_multiple_of(columns) || !span.start.is_multiple_of(columns) {
            return error(format!("{len} values from {} on are not whole rows of {columns}", span.start));
        }
        Ok(())
    }
}

/// Appends the little-endian bytes of a value, rounded to a float type.
fn push(dtype: Dtype, value: f32, bytes: &mut Vec<u8>) {
    match dtype {
        Dtype::F16 => bytes.extend_from_slice(&f16::from_f32(value).to_le_bytes()),
        Dtype::Bf16 => bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes()),
        Dtype::F32 => bytes.extend_from_slice(&value.to_le_bytes()),
    }
}

/// The error for a group of values whose scale cannot be stored.
fn range_error(span: Span<'_>, values: &[f32], first: usize, len: usize, reason: &'static str) -> ConvertError {
    let group = values.get(first..first + len).unwrap_or_default();
    ConvertError::QuantizationRange {
        name: span.tensor.to_string(),
        index: span.index(first),
        min: group.iter().copied().fold(f32::INFINITY, f32::min),
        max: group.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        reason,
    }
}
