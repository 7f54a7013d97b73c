//! Quantized weights in libtorch: what the codes of the original stand for, or what a candidate's codes do.

use std::collections::HashMap;

use mert_arch::{Dtype, Quantization};
use tch::{TchError, Tensor};

use crate::quantized::quantize_dequantize;

/// Decoded weights of linear layers, by Hugging Face name.
pub(crate) type DecodedWeights = HashMap<String, Tensor>;

/// Quantizes a weight as `mx.quantize` does on the CPU, and decodes it again.
pub(super) fn quantized(weight: &Tensor, quantization: Quantization, float: Dtype) -> Result<Tensor, TchError> {
    let mut values: Vec<f32> = Vec::try_from(weight.f_reshape([-1])?)?;
    quantize_dequantize(&mut values, quantization, float);
    Tensor::f_from_slice(&values)?.f_reshape(weight.size())
}
