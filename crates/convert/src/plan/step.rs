//! The steps of a plan, one for each tensor of the output.

use mert_arch::Role;
use serde::Serialize;

use crate::transform::{Cast, FuseWeightNorm, Transpose};

/// The input of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepInput {
    /// A single tensor, by its key in the checkpoint.
    Tensor(String),
    /// The two factors of a weight norm, by their keys.
    WeightNorm {
        /// The magnitude's key.
        g: String,
        /// The direction's key.
        v: String,
        /// The fusion into one weight.
        fuse: FuseWeightNorm,
    },
    /// The direction of a weight norm, by its key. Its norms are checked, since a program divides by them.
    Direction {
        /// The direction's key.
        v: String,
        /// The fusion that the program will do.
        fuse: FuseWeightNorm,
    },
    /// The norms of a fused weight, as the magnitude with which the weight itself is the direction.
    Norms {
        /// The weight's key.
        v: String,
        /// The fusion that the program will do.
        fuse: FuseWeightNorm,
    },
}

impl StepInput {
    /// The keys of the tensors that the step reads.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            StepInput::Tensor(name) => vec![name],
            StepInput::Direction { v, .. } | StepInput::Norms { v, .. } => vec![v],
            StepInput::WeightNorm { g, v, .. } => vec![g, v],
        }
    }
}

/// The treatment of one tensor of the output: read, fuse, transpose and cast, in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The output's name: the Hugging Face name without prefix, or the target's name of the tensor.
    pub output: String,
    /// The output's shape, in the output's layout.
    pub shape: Vec<usize>,
    /// The tensor's role in the model.
    pub role: Role,
    /// The tensors that are read.
    pub input: StepInput,
    /// The names of these tensors in the file, where they are others; for one that is filled in, a description.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names_in_file: Vec<String>,
    /// The output's shape in PyTorch's order.
    pub input_shape: Vec<usize>,
    /// The transposition, if the layout orders this tensor differently from PyTorch.
    pub transpose: Option<Transpose>,
    /// The change of element type.
    pub cast: Cast,
}

impl Step {
    /// The number of bytes of the output.
    pub fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.cast.to.size()
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
