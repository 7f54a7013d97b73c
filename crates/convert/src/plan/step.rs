//! The steps of a plan, one for each tensor of the model.

use mert_arch::{Dtype, Encoding, Role, StoredTensor, TensorSpec};
use mert_checkpoint::SourceDtype;
use serde::{Serialize, Serializer};

use crate::transform::{Cast, Quantize, Transform, Transpose};

/// A tensor of the checkpoint that a step reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepInput {
    /// The key: the name in the checkpoint, in Hugging Face's scheme.
    pub key: String,
    /// The element type.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: SourceDtype,
    /// The name in the file, if the file has another scheme; for a tensor that is filled in, a description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_in_file: Option<String>,
}

fn dtype_name<S: Serializer>(dtype: &SourceDtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

impl StepInput {
    /// The name in the file.
    pub fn shown(&self) -> &str {
        self.name_in_file.as_deref().unwrap_or(&self.key)
    }
}

/// The treatment of one tensor of the model: the tensors that are read, the changes in their order, and the tensors that are
/// stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The tensor's name: the Hugging Face name without prefix, or the program's name of the tensor.
    pub name: String,
    /// The tensor's shape, in the output's layout.
    pub shape: Vec<usize>,
    /// The tensor's role in the model.
    pub role: Role,
    /// The tensors that are read.
    pub inputs: Vec<StepInput>,
    /// The tensor's shape in PyTorch's order.
    pub input_shape: Vec<usize>,
    /// The changes, in their order. There is a [`Transform::Cast`] in every chain.
    pub chain: Vec<Transform>,
    /// The tensors that are stored: one, or the parts of a quantized or compressed weight.
    pub outputs: Vec<StoredTensor>,
    /// The reason why the tensor is not quantized or compressed in a model that is, as a clause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_unquantized: Option<String>,
}

impl Step {
    /// The change of element type.
    pub fn cast(&self) -> &Cast {
        let cast = self.chain.iter().find_map(|transform| match transform {
            Transform::Cast(cast) => Some(cast),
            _ => None,
        });
        // The planner ends every chain in a cast, before a quantization.
        const NONE: &Cast = &Cast { from: SourceDtype::F32, to: Dtype::F32 };
        cast.unwrap_or(NONE)
    }

    /// The transposition, if the layout orders this tensor differently from PyTorch.
    pub fn transpose(&self) -> Option<&Transpose> {
        self.chain.iter().find_map(|transform| match transform {
            Transform::Transpose(transpose) => Some(transpose),
            _ => None,
        })
    }

    /// The form in which the tensor is stored.
    pub fn encoding(&self) -> Encoding {
        let quantize = self.chain.iter().find_map(|transform| match transform {
            Transform::Quantize(quantize) => Some(quantize),
            _ => None,
        });
        match quantize {
            Some(&Quantize { quantization, float }) => Encoding::Quantized { quantization, float },
            None => Encoding::Float(self.cast().to),
        }
    }

    /// The tensor in PyTorch's order.
    pub(super) fn spec(&self) -> TensorSpec {
        TensorSpec { name: self.name.clone(), shape: self.input_shape.clone(), role: self.role }
    }

    /// The number of bytes that are stored.
    pub fn byte_len(&self) -> usize {
        self.outputs.iter().map(StoredTensor::byte_len).sum()
    }
}

/// A tensor of the checkpoint that is left out of the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The tensor's key in the checkpoint.
    pub name: String,
    /// The reason why it is left out.
    pub reason: String,
}
