//! Compressed weights: the operations `constexpr_…` of MIL, which Core ML computes when it loads a package.
//!
//! They are those that coremltools writes for the same scheme and target
//! (<https://github.com/apple/coremltools/blob/main/coremltools/converters/mil/mil/ops/defs/iOS18/compression.py>).

use std::collections::BTreeMap;

use super::values::{Constant, Dim, Float, Tensor, name_attribute, value_type};
use super::{BLOB_FILE, Graph, identifier};
use crate::plan::Step;
use crate::transform::{CodeType, LinearQuantize, Palettize, Transform};
use crate::write::coreml::blob::{Blob, Content, Record};
use crate::write::coreml::options::DeploymentTarget;
use crate::write::coreml::proto::{Argument, Binding, BlobFileValue, DataType, Operation, Value, ValueKind};

impl CodeType {
    /// The type in the format's messages.
    const fn data_type(self) -> DataType {
        match self {
            CodeType::Int4 => DataType::Int4,
            CodeType::Uint4 => DataType::Uint4,
            CodeType::Int8 => DataType::Int8,
            CodeType::Uint8 => DataType::Uint8,
        }
    }
}

/// The indices of the step's outputs.
const CODES: usize = 0;
const SCALES: usize = 1;
const OFFSETS: usize = 2;

impl<'p> Graph<'p> {
    /// A weight whose step ends in a compression.
    ///
    /// The program computes it in half precision, whose weights alone are compressed.
    pub(super) fn compressed(&mut self, name: &str, step: &'p Step) -> Option<Tensor> {
        let (kind, parts) = match step.chain.last() {
            Some(Transform::LinearQuantize(quantize)) => self.linear_quantized(step, quantize),
            Some(Transform::Palettize(palettize)) => self.palettized(step, palettize),
            _ => return None,
        };
        let mut blob = Blob { step, rows: None, stored: Float::F16.dtype(), records: Vec::new() };
        let mut parameters = Vec::new();
        for (parameter, part) in parts {
            let value = match part {
                Part::Constant(value) => value,
                Part::Stored { data_type, dims, content } => {
                    let dims: Vec<Dim> = dims.into_iter().map(Dim::Fixed).collect();
                    let record = Record::new(self.blob_end, data_type, Dim::elements(&dims), content);
                    self.blob_end = record.end();
                    let file = BlobFileValue { file_name: BLOB_FILE.into(), offset: record.position as u64 };
                    blob.records.push(record);
                    Value { r#type: Some(value_type(data_type, &dims)), value: Some(ValueKind::BlobFile(file)) }
                }
            };
            parameters.push((parameter, value));
        }
        self.blobs.push(blob);
        let dims = step.shape.iter().copied().map(Dim::Fixed).collect();
        let tensor = Tensor { name: identifier(name), dtype: Float::F16, dims };
        self.push_constexpr(kind, &tensor, parameters);
        Some(tensor)
    }

    fn linear_quantized(&self, step: &Step, quantize: &LinearQuantize) -> (&'static str, Vec<(&'static str, Part)>) {
        let LinearQuantize { codes, block } = *quantize;
        let data_type = codes.data_type();
        let codes_part = Part::Stored { data_type, dims: step.shape.clone(), content: Content::Output(CODES) };
        let rows = step.shape.first().copied().unwrap_or_default();
        let values: usize = step.shape.iter().product();
        // Up to iOS 17 the offsets are required; a record that is not written has zeros.
        let offsets = if codes.has_offset() { Content::Output(OFFSETS) } else { Content::Zeros };
        if self.target < DeploymentTarget::Ios18 {
            let per_channel = |data_type, content| Part::Stored { data_type, dims: vec![rows], content };
            let parts = vec![
                ("quantized_data", codes_part),
                ("zero_point", per_channel(data_type, offsets)),
                ("scale", per_channel(DataType::Float16, Content::Output(SCALES))),
                ("axis", Part::Constant(Constant::Int(0).value())),
            ];
            return ("constexpr_affine_dequantize", parts);
        }
        // One scale for each block of a row.
        let mut blocks = vec![1; step.shape.len()];
        blocks[0] = rows;
        if let Some(blocks_of_row) = blocks.get_mut(1) {
            *blocks_of_row = values / rows.max(1) / block;
        }
        let per_block = |data_type, content| Part::Stored { data_type, dims: blocks.clone(), content };
        let mut parts = vec![("data", codes_part), ("scale", per_block(DataType::Float16, Content::Output(SCALES)))];
        if codes.has_offset() {
            parts.push(("offset", per_block(data_type, offsets)));
        }
        ("constexpr_blockwise_shift_scale", parts)
    }

    fn palettized(&self, step: &Step, palettize: &Palettize) -> (&'static str, Vec<(&'static str, Part)>) {
        let entries = 1 << palettize.bits;
        let indices = Content::Output(CODES);
        let lut = |dims| Part::Stored { data_type: DataType::Float16, dims, content: Content::Output(SCALES) };
        let parts = if self.target < DeploymentTarget::Ios18 {
            let bytes = (step.shape.iter().product::<usize>() * palettize.bits).div_ceil(8);
            vec![
                ("indices", Part::Stored { data_type: DataType::Uint8, dims: vec![bytes], content: indices }),
                ("lut", lut(vec![entries])),
                ("shape", Part::Constant(Constant::Extents(step.shape.clone()).value())),
            ]
        } else {
            let data_type = match palettize.bits {
                4 => DataType::Uint4,
                6 => DataType::Uint6,
                _ => DataType::Uint8,
            };
            // One table for the whole weight, of values that are single numbers.
            let mut dims = vec![1; step.shape.len()];
            dims.extend([entries, 1]);
            vec![
                ("indices", Part::Stored { data_type, dims: step.shape.clone(), content: indices }),
                ("lut", lut(dims)),
            ]
        };
        ("constexpr_lut_to_dense", parts)
    }

    /// Appends a `constexpr_…` operation, whose parameters are values in place: attributes up to iOS 17, arguments from iOS 18
    /// on.
    fn push_constexpr(&mut self, kind: &str, result: &Tensor, parameters: Vec<(&'static str, Value)>) {
        let (mut inputs, mut attributes) = (BTreeMap::new(), name_attribute(&result.name));
        for (parameter, value) in parameters {
            if self.target < DeploymentTarget::Ios18 {
                attributes.insert(parameter.to_string(), value);
            } else {
                let arguments = vec![Binding { name: None, value: Some(value) }];
                inputs.insert(parameter.to_string(), Argument { arguments });
            }
        }
        self.operations.push(Operation { r#type: kind.into(), inputs, outputs: vec![result.named_type()], attributes });
    }
}

/// A parameter of a compressed weight.
enum Part {
    /// A value in the program.
    Constant(Value),
    /// A tensor in the file of weights.
    Stored { data_type: DataType, dims: Vec<usize>, content: Content },
}
