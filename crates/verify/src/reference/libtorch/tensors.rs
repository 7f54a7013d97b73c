//! The parts that every module of the reference is made of: a weight with its bias, loaded at a precision, and the
//! operations on it.

use std::path::Path;

use mert_arch::{Activation, Dtype, Encoding};
use tch::{Device, Kind, TchError, Tensor};

use super::quantized::{DecodedWeights, quantized};
use super::weights::Weights;
use crate::{ModelEncoding, VerifyError};

/// A weight and its optional bias.
pub(super) struct Affine {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
}

impl Affine {
    /// Applies them as a Linear, on the last axis.
    pub(super) fn linear(&self, x: &Tensor) -> Result<Tensor, TchError> {
        x.f_linear(&self.weight, self.bias.as_ref())
    }

    /// Applies them as the gain and bias of a LayerNorm over the last axis.
    pub(super) fn layer_norm(&self, x: &Tensor, eps: f64) -> Result<Tensor, TchError> {
        let channels = self.weight.size1()?;
        x.f_layer_norm([channels], Some(&self.weight), self.bias.as_ref(), eps, false)
    }

    /// Applies them as a Conv1d with `kernel / 2` frames of zeros on both ends and the last output of an even kernel
    /// dropped, so that `(batch, channels, frames)` keeps its frames.
    pub(super) fn same_length_conv(&self, x: &Tensor, groups: usize) -> Result<Tensor, TchError> {
        let (frames, kernel) = (x.size3()?.2, self.weight.size3()?.2);
        let y = x.f_conv1d(&self.weight, self.bias.as_ref(), 1, kernel / 2, 1, groups as i64)?;
        y.f_narrow(2, 0, frames)
    }
}

/// Applies an activation function.
pub(super) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor, TchError> {
    match activation {
        Activation::Gelu => x.f_gelu("none"),
        Activation::GeluTanh => x.f_gelu("tanh"),
        Activation::Relu => x.f_relu(),
    }
}

/// A loader of a checkpoint's weights in an encoding, decoded again.
pub(super) struct Loader<'a> {
    pub(super) weights: &'a Weights,
    pub(super) encoding: &'a ModelEncoding,
    /// The quantized or compressed weights to take instead of those that follow from the checkpoint.
    pub(super) decoded: Option<&'a DecodedWeights>,
}

impl Loader<'_> {
    /// Loads `path.weight` and, if `with_bias`, `path.bias`.
    pub(super) fn affine(&self, path: &str, with_bias: bool) -> Result<Affine, BuildError> {
        let weight = self.rounded(&format!("{path}.weight"))?;
        let bias = if with_bias { Some(self.rounded(&format!("{path}.bias"))?) } else { None };
        Ok(Affine { weight, bias })
    }

    /// The layer at `path` that a converted model has and the checkpoint leaves out, because it changes nothing: only a
    /// quantized one does.
    pub(super) fn identity(&self, path: &str, width: usize) -> Result<Option<Affine>, BuildError> {
        let Encoding::Quantized { quantization, float } = self.encoding.of_tensor(&format!("{path}.weight")) else {
            return Ok(None);
        };
        let weight = Tensor::f_eye(width as i64, (Kind::Float, Device::Cpu))?;
        Ok(Some(Affine { weight: quantized(&weight, quantization, float)?, bias: None }))
    }

    /// Loads a tensor, rounded or quantized.
    pub(super) fn rounded(&self, name: &str) -> Result<Tensor, BuildError> {
        if let Some(tensor) = self.decoded.and_then(|decoded| decoded.get(name)) {
            return Ok(tensor.shallow_clone());
        }
        match self.encoding.of_tensor(name) {
            Encoding::Quantized { quantization, float } => Ok(quantized(self.exact(name)?, quantization, float)?),
            Encoding::Float(_) => Ok(self.round(self.exact(name)?)?),
        }
    }

    /// The tensor as the checkpoint has it.
    pub(super) fn exact(&self, name: &str) -> Result<&Tensor, BuildError> {
        self.weights.get(name).ok_or_else(|| BuildError::Missing(name.to_string()))
    }

    /// Rounds a tensor to the encoding's floats and widens it again.
    pub(super) fn round(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let kind = match self.encoding.float() {
            Dtype::F32 => return Ok(tensor.shallow_clone()),
            Dtype::F16 => Kind::Half,
            Dtype::Bf16 => Kind::BFloat16,
        };
        tensor.f_to_kind(kind)?.f_to_kind(Kind::Float)
    }
}

/// The reason why the model could not be built from a checkpoint's tensors.
pub(crate) enum BuildError {
    Missing(String),
    Torch(TchError),
}

impl BuildError {
    pub(crate) fn into_verify_error(self, path: &Path) -> VerifyError {
        match self {
            BuildError::Missing(name) => {
                VerifyError::Checkpoint { path: path.to_path_buf(), reason: format!("tensor `{name}` is missing") }
            }
            BuildError::Torch(error) => VerifyError::Libtorch(error.to_string()),
        }
    }
}

impl From<TchError> for BuildError {
    fn from(error: TchError) -> Self {
        BuildError::Torch(error)
    }
}
