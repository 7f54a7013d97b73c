//! The step that makes one tensor of a bundle from tensors of the files.

use std::collections::BTreeMap;

use mert_arch::{Dtype, Encoding, Role};
use mert_checkpoint::SourceDtype;

use super::source::Sources;
use super::tensors::Found;
use crate::plan::{Step, StepInput};
use crate::transform::{Cast, Quantize, Rename, Transform, Transpose};

/// The tensors that steps read, by the names that the steps have for them.
pub(super) type Reads = BTreeMap<String, Found>;

/// A tensor of the output and what it is made from.
pub(super) struct StepSpec<'a> {
    /// The name in the output.
    pub(super) name: String,
    /// The shape in PyTorch's order.
    pub(super) torch_shape: Vec<usize>,
    pub(super) role: Role,
    /// The tensors that are read.
    pub(super) inputs: Vec<&'a Found>,
    /// The change of their values, if they are not one tensor as it is.
    pub(super) change: Option<Transform>,
    /// The order of the axes in the output.
    pub(super) axes: Option<[usize; 3]>,
    pub(super) encoding: Encoding,
    pub(super) left_unquantized: Option<String>,
}

impl StepSpec<'_> {
    /// The step. Its inputs are added to `reads`, under the names by which it will read them.
    pub(super) fn into_step(self, sources: &Sources, reads: &mut Reads) -> Step {
        let mut inputs = Vec::new();
        for &found in &self.inputs {
            let key = sources.assembled_name(found);
            reads.insert(key.clone(), found.clone());
            inputs.push(StepInput { key, dtype: found.info.dtype.clone(), name_in_file: None });
        }
        let is_merged = matches!(self.change, Some(Transform::MergeLora(_) | Transform::SumBiases));
        let from = if is_merged { SourceDtype::F32 } else { widest(&self.inputs) };
        let to = match self.encoding {
            Encoding::Float(dtype) | Encoding::Quantized { float: dtype, .. } => dtype,
        };
        let shape: Vec<usize> = match self.axes {
            Some(axes) => axes.iter().filter_map(|&axis| self.torch_shape.get(axis).copied()).collect(),
            None => self.torch_shape.clone(),
        };
        let mut chain = Vec::new();
        match (self.change, &inputs[..]) {
            (Some(change), _) => chain.push(change),
            (None, [input]) => {
                let from = self.inputs.first().map_or(&input.key, |found| &found.key);
                if *from != self.name {
                    chain.push(Transform::Rename(Rename { from: from.clone(), to: self.name.clone() }));
                }
            }
            (None, _) => {}
        }
        chain.extend(self.axes.map(|axes| Transform::Transpose(Transpose { axes })));
        chain.push(Transform::Cast(Cast { from, to }));
        if let Encoding::Quantized { quantization, float } = self.encoding {
            chain.push(Transform::Quantize(Quantize { quantization, float }));
        }
        Step {
            outputs: self.encoding.stored_tensors(&self.name, &shape),
            name: self.name,
            shape,
            role: self.role,
            inputs,
            input_shape: self.torch_shape,
            chain,
            left_unquantized: self.left_unquantized,
        }
    }
}

/// The type that holds the values of all inputs exactly.
fn widest(inputs: &[&Found]) -> SourceDtype {
    let mut dtypes = inputs.iter().map(|found| &found.info.dtype);
    match dtypes.next() {
        Some(first) if dtypes.all(|dtype| dtype == first) => first.clone(),
        _ if inputs.iter().any(|found| found.info.dtype == SourceDtype::F64) => SourceDtype::F64,
        _ => SourceDtype::F32,
    }
}

/// A tensor that is one tensor of a file, too, in the float type.
pub(super) fn plain<'a>(
    name: &str,
    found: &'a Found,
    torch_shape: &[usize],
    role: Role,
    axes: Option<[usize; 3]>,
    dtype: Dtype,
) -> StepSpec<'a> {
    StepSpec {
        name: name.to_string(),
        torch_shape: torch_shape.to_vec(),
        role,
        inputs: vec![found],
        change: None,
        axes,
        encoding: Encoding::Float(dtype),
        left_unquantized: None,
    }
}
