//! Quantized weights of a file, and their values: the decoder of both engines' loading. It shares no code with the
//! converter's encoder.

mod float_codes;
mod joined;
mod rows;

use mert_arch::{Dtype, Quantization, QuantizationMode};

pub(crate) use float_codes::{e2m1, e4m3, e8m0};
pub(crate) use joined::JoinedWeight;

/// A weight `(outputs, inputs)` in packed codes, as it lies in a file
/// ([`mx.quantize`](https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuantizedWeight<'a> {
    pub(crate) encoding: QuantizedEncoding,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// The codes of each row as a stream of bits, the lowest first, in little-endian words of 32 bits.
    pub(crate) words: &'a [u8],
    /// The scale of each group, `(outputs, groups)`.
    pub(crate) scales: &'a [u8],
    /// The bias of each group, `(outputs, groups)`; empty in modes without.
    pub(crate) biases: &'a [u8],
}

/// The format of codes and scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QuantizedEncoding {
    pub(crate) quantization: Quantization,
    pub(crate) scale: ScaleType,
}

/// The element type of scales, and of biases where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScaleType {
    Float(Dtype),
    /// A power of two: its biased exponent.
    E8m0,
    /// A float of 8 bits with 4 bits of exponent.
    E4m3,
}

impl QuantizedEncoding {
    /// The format of a quantization whose floats have the type `float`.
    pub(crate) fn new(quantization: Quantization, float: Dtype) -> Self {
        let scale = match quantization.mode {
            QuantizationMode::Affine => ScaleType::Float(float),
            QuantizationMode::Mxfp4 | QuantizationMode::Mxfp8 => ScaleType::E8m0,
            QuantizationMode::Nvfp4 => ScaleType::E4m3,
        };
        QuantizedEncoding { quantization, scale }
    }

    /// The number of 32-bit words of a group's codes.
    pub(crate) fn words_of_group(self) -> usize {
        self.quantization.packed_columns(self.quantization.group_size)
    }
}

impl ScaleType {
    /// Number of bytes of an element.
    pub(crate) fn size(self) -> usize {
        match self {
            ScaleType::Float(dtype) => dtype.size(),
            ScaleType::E8m0 | ScaleType::E4m3 => 1,
        }
    }
}
