//! A program under construction: operations in order, and the weights that they use.
//!
//! - this file: the program's state; `operations.rs`: the operations of MIL that the encoder needs.
//! - `compressed.rs`: weights that are stored in fewer bits.
//! - `indices.rs`: operations on whole numbers, such as positions of frames.
//! - `values.rs`: values and constants, and their form in the file.
//! - `half_factors.rs`: factors as products of half-precision numbers.

mod compressed;
mod half_factors;
mod indices;
mod operations;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use self::operations::Conv;
pub(super) use self::values::{Dim, Float, Tensor};
use self::values::{Operand, name_attribute, value_type};
use super::blob::{Blob, Content, Record};
use super::inline::{FEWEST_IN_FILE, InlineWeight};
use super::options::DeploymentTarget;
use super::proto::{Argument, Binding, BlobFileValue, Block, NamedValueType, Operation, Value, ValueKind, ValueType};
use crate::plan::Step;

/// The path of the blob file, as operations name it.
const BLOB_FILE: &str = "@model_path/weights/weight.bin";

/// Operations in the order in which they run.
///
/// Each method appends one operation, preceded by a `const` for each parameter, and returns its result with the type that
/// the file must declare. Shapes are those of Apple's documentation of the iOS 15 operation set
/// (<https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html>). A weight has the
/// checkpoint's name; a value is named after the module that computes it.
pub(super) struct Graph<'p> {
    target: DeploymentTarget,
    operations: Vec<Operation>,
    steps: BTreeMap<&'p str, &'p Step>,
    blobs: Vec<Blob<'p>>,
    inline: Vec<InlineWeight<'p>>,
    /// The position of the next blob's record.
    blob_end: usize,
    /// The first reason why the program would compute something else than the model, as a clause.
    fault: Option<String>,
}

/// A program and its weights.
pub(super) struct Finished<'p> {
    /// The operations, in which the values of `inline` are missing.
    pub(super) block: Block,
    pub(super) blobs: Vec<Blob<'p>>,
    pub(super) inline: Vec<InlineWeight<'p>>,
}

impl<'p> Graph<'p> {
    /// An empty program for a target over the plan's weights; `blob_start` is the position of the first record of the blob file.
    pub(super) fn new(steps: &'p [Step], blob_start: usize, target: DeploymentTarget) -> Self {
        let steps = steps.iter().map(|step| (step.name.as_str(), step)).collect();
        Graph {
            target,
            operations: Vec::new(),
            steps,
            blobs: Vec::new(),
            inline: Vec::new(),
            blob_end: blob_start,
            fault: None,
        }
    }

    /// The program as a block that returns `outputs`, and the weights that it uses.
    ///
    /// # Errors
    /// A number that its type cannot represent closely enough, a weight that the plan does not have, or one that `needed` names
    /// and the program does not use, as a clause.
    pub(super) fn finish(self, outputs: &[Tensor], needed: impl Fn(&str) -> bool) -> Result<Finished<'p>, String> {
        if let Some(reason) = self.fault {
            return Err(reason);
        }
        let inline = self.inline.iter().map(|weight| weight.tensor.step);
        let used: BTreeSet<&str> =
            self.blobs.iter().map(|blob| blob.step).chain(inline).map(|step| step.name.as_str()).collect();
        if let Some(unused) = self.steps.keys().find(|name| needed(name) && !used.contains(*name)) {
            return Err(format!("a package of this model cannot be written: its program would leave out `{unused}`"));
        }
        let outputs = outputs.iter().map(|output| output.name.clone()).collect();
        let block = Block { outputs, operations: self.operations };
        Ok(Finished { block, blobs: self.blobs, inline: self.inline })
    }

    /// A weight of the checkpoint.
    ///
    /// Where the model computes in f32 although its weights are f16, the f16 values are stored in f32, so that the package
    /// has the same weights as an f16 file of the same checkpoint, to the bit.
    fn weight(&mut self, name: &str, dtype: Float) -> Tensor {
        self.stored(name, None, dtype)
    }

    /// A table of these rows of a weight of the checkpoint.
    pub(super) fn rows(&mut self, name: &str, rows: Vec<usize>, dtype: Float) -> Tensor {
        self.stored(name, Some(rows.into()), dtype)
    }

    fn stored(&mut self, name: &str, rows: Option<Arc<[usize]>>, dtype: Float) -> Tensor {
        let Some(&step) = self.steps.get(name) else {
            self.fault
                .get_or_insert_with(|| format!("its program needs a weight `{name}`, which the plan does not have"));
            return Tensor { name: identifier(name), dtype, dims: vec![Dim::Unknown; 4] };
        };
        if let (Float::F16, None, Some(tensor)) = (dtype, &rows, self.compressed(name, step)) {
            return tensor;
        }
        let mut blob = Blob { step, rows, stored: dtype.dtype(), records: Vec::new() };
        let tensor = blob.tensor();
        let dims: Vec<Dim> = tensor.shape().into_iter().map(Dim::Fixed).collect();
        let value = if tensor.shape().iter().product::<usize>() < FEWEST_IN_FILE {
            self.inline.push(InlineWeight { tensor, operation: self.operations.len() });
            None
        } else {
            let record = Record::new(self.blob_end, dtype.data_type(), Dim::elements(&dims), Content::Output(0));
            self.blob_end = record.end();
            let file = BlobFileValue { file_name: BLOB_FILE.into(), offset: record.position as u64 };
            blob.records.push(record);
            self.blobs.push(blob);
            Some(ValueKind::BlobFile(file))
        };
        let value_type = value_type(dtype.data_type(), &dims);
        let name = identifier(name);
        self.constant(&name, value_type.clone(), Value { r#type: Some(value_type), value });
        Tensor { name, dtype, dims }
    }

    /// Appends a `const` operation.
    fn constant(&mut self, name: &str, r#type: ValueType, value: Value) {
        let mut attributes = name_attribute(name);
        attributes.insert("val".into(), value);
        self.operations.push(Operation {
            r#type: "const".into(),
            inputs: BTreeMap::new(),
            outputs: vec![NamedValueType { name: name.into(), r#type: Some(r#type) }],
            attributes,
        });
    }

    /// Appends an operation and returns its result.
    fn push<'a>(
        &mut self,
        operation: &str,
        at: &str,
        dims: Vec<Dim>,
        dtype: Float,
        operands: impl IntoIterator<Item = (&'static str, Operand<'a>)>,
    ) -> Tensor {
        let tensor = Tensor { name: identifier(at), dtype, dims };
        self.push_operation(operation, tensor.named_type(), operands);
        tensor
    }

    /// Appends an operation with this result.
    fn push_operation<'a>(
        &mut self,
        operation: &str,
        result: NamedValueType,
        operands: impl IntoIterator<Item = (&'static str, Operand<'a>)>,
    ) {
        let mut inputs = BTreeMap::new();
        for (parameter, operand) in operands {
            let names = match operand {
                Operand::Tensor(tensor) => vec![tensor.name.clone()],
                Operand::Tensors(tensors) => tensors.iter().map(|tensor| tensor.name.clone()).collect(),
                Operand::Indices(indices) => vec![indices.name.clone()],
                Operand::Constant(constant) => {
                    let (name, value) = (format!("{}_{parameter}", result.name), constant.value());
                    self.constant(&name, value.r#type.clone().unwrap_or_default(), value);
                    vec![name]
                }
            };
            let arguments = names.into_iter().map(|name| Binding { name: Some(name), value: None }).collect();
            inputs.insert(parameter.to_string(), Argument { arguments });
        }
        let attributes = name_attribute(&result.name);
        self.operations.push(Operation { r#type: operation.into(), inputs, outputs: vec![result], attributes });
    }
}

/// A path as an identifier of MIL, which has no dots.
fn identifier(path: &str) -> String {
    path.replace('.', "_")
}
