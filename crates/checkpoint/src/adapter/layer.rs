//! The low-rank change of one linear layer, assembled from its parts.

use std::collections::BTreeMap;

use super::error::AdapterError;
use super::keys::Part;
use crate::checkpoint::TensorInfo;
use crate::dtype::SourceDtype;

/// One tensor of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterTensor {
    /// The key in [`Listing::adapter_tensors`](crate::Listing::adapter_tensors).
    pub key: String,
    /// The element type and shape.
    pub info: TensorInfo,
}

/// The change of one linear layer: W + scale · B · A, with rows that DoRA scales to given norms.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraLayer {
    /// The factor on the input's side: `(rank, in)`, or `(in, rank)` if [`LoraLayer::is_transposed`].
    pub a: AdapterTensor,
    /// The factor on the output's side: `(out, rank)`, or `(rank, out)` if [`LoraLayer::is_transposed`].
    pub b: AdapterTensor,
    /// The norm of each output row after the change, `(out,)`: DoRA.
    pub magnitude: Option<AdapterTensor>,
    /// The bias of the factor B, `(out,)`, which is added to the layer's bias with the same scale.
    pub bias: Option<AdapterTensor>,
    /// Whether the factors are stored as mlx-lm stores them.
    pub is_transposed: bool,
    /// The rank.
    pub rank: usize,
    /// The factor of B · A.
    pub scale: f64,
}

impl LoraLayer {
    /// The shape of the weight that the layer changes, `(out, in)`.
    pub fn weight_shape(&self) -> [usize; 2] {
        let (a, b) = (&self.a.info.shape, &self.b.info.shape);
        if self.is_transposed { [b[1], a[0]] } else { [b[0], a[1]] }
    }

    /// The keys of the tensors that change the weight.
    pub fn weight_keys(&self) -> impl Iterator<Item = &str> {
        [Some(&self.a), Some(&self.b), self.magnitude.as_ref()].into_iter().flatten().map(|tensor| tensor.key.as_str())
    }
}

/// The parts of one module, by what they are.
pub(super) type Parts = BTreeMap<Part, AdapterTensor>;

/// A module's parts with their shapes checked against each other, without a scale.
pub(super) fn assemble(module: &str, mut parts: Parts, is_transposed: bool) -> Result<LoraLayer, AdapterError> {
    let (names, axes) = match is_transposed {
        true => (["lora_a", "lora_b"], ["(in, rank)", "(rank, out)"]),
        false => (["lora_A", "lora_B"], ["(rank, in)", "(out, rank)"]),
    };
    let some_key = parts.values().next().map(|tensor| tensor.key.clone()).unwrap_or_default();
    let mut take = |part, missing| {
        let incomplete = || AdapterError::Incomplete { module: module.to_string(), found: some_key.clone(), missing };
        parts.remove(&part).ok_or_else(incomplete)
    };
    let (a, b) = (take(Part::A, names[0])?, take(Part::B, names[1])?);
    for (tensor, axes) in [(&a, axes[0]), (&b, axes[1])] {
        let expected = format!("{axes}, two axes without a zero: LoRA of a linear layer, saved as a whole");
        if tensor.info.shape.len() != 2 || tensor.info.shape.contains(&0) {
            return Err(shape_error(tensor, expected));
        }
    }
    let rank = a.info.shape[usize::from(is_transposed)];
    if b.info.shape[usize::from(!is_transposed)] != rank {
        return Err(shape_error(&b, format!("{} with the rank {rank} of `{}`", axes[1], a.key)));
    }
    let (magnitude, bias) = (parts.remove(&Part::Magnitude), parts.remove(&Part::Bias));
    let layer = LoraLayer { a, b, magnitude, bias, is_transposed, rank, scale: f64::NAN };
    let [outputs, _] = layer.weight_shape();
    for vector in [&layer.magnitude, &layer.bias].into_iter().flatten() {
        if vector.info.shape != [outputs] {
            return Err(shape_error(vector, format!("({outputs},), a value for each output")));
        }
    }
    for tensor in [Some(&layer.a), Some(&layer.b), layer.magnitude.as_ref(), layer.bias.as_ref()].into_iter().flatten()
    {
        if let SourceDtype::Other(found) = &tensor.info.dtype {
            return Err(AdapterError::Dtype { name: tensor.key.clone(), found: found.clone() });
        }
    }
    Ok(layer)
}

fn shape_error(tensor: &AdapterTensor, expected: String) -> AdapterError {
    AdapterError::Shape { name: tensor.key.clone(), found: tensor.info.shape.clone(), expected }
}

/// The scale, if it is a positive finite number. Negative ones exist nowhere; a zero is an adapter that was switched off.
pub(super) fn checked_scale(module: &str, scale: f64, origin: &str) -> Result<f64, AdapterError> {
    if scale > 0.0 && (scale as f32).is_finite() && scale as f32 > 0.0 {
        return Ok(scale);
    }
    Err(AdapterError::Scale { module: module.to_string(), scale, origin: origin.to_string() })
}
