//! The values of a program and their types, in memory and in the format's messages.

use std::collections::BTreeMap;

use half::f16;
use mert_arch::Dtype;

use crate::write::coreml::proto::{
    Bools, Bytes, ConstantDimension, DataType, Dimension, DimensionKind, Floats, ImmediateValue, Ints, NamedValueType,
    Strings, TensorType, TensorValue, TensorValues, UnknownDimension, Value, ValueKind, ValueType,
};

/// An extent of a tensor: fixed, or unknown until the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::write::coreml) enum Dim {
    Fixed(usize),
    Unknown,
}

impl Dim {
    /// The number of elements of a tensor with fixed dimensions.
    pub(super) fn elements(dims: &[Dim]) -> usize {
        dims.iter().map(|dim| if let Dim::Fixed(extent) = dim { *extent } else { 0 }).product()
    }
}

/// The element types that the model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::write::coreml) enum Float {
    F16,
    F32,
}

impl Float {
    /// The type in the format's messages.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Float::F16 => DataType::Float16,
            Float::F32 => DataType::Float32,
        }
    }

    /// The name of the type in MIL's `cast`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Float::F16 => "fp16",
            Float::F32 => "fp32",
        }
    }

    /// The type of stored weights.
    pub(super) fn dtype(self) -> Dtype {
        match self {
            Float::F16 => Dtype::F16,
            Float::F32 => Dtype::F32,
        }
    }

    /// A number as a constant of this type, and its rounded value.
    pub(super) fn scalar(self, value: f64) -> (Constant, f64) {
        match self {
            Float::F16 => (Constant::F16(f16::from_f64(value)), f16::from_f64(value).to_f64()),
            Float::F32 => (Constant::F32(value as f32), f64::from(value as f32)),
        }
    }
}

/// A value of the program: the result of an operation, a weight or the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::write::coreml) struct Tensor {
    pub(in crate::write::coreml) name: String,
    pub(in crate::write::coreml) dtype: Float,
    pub(in crate::write::coreml) dims: Vec<Dim>,
}

/// Whole numbers that the program computes, int32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::write::coreml) struct Indices {
    pub(super) name: String,
    pub(super) dims: Vec<Dim>,
}

/// A parameter that is constant in the program.
pub(super) enum Constant {
    Bool(bool),
    Bools(Vec<bool>),
    Int(i32),
    Ints(Vec<i32>),
    /// The extents of a tensor, uint32.
    Extents(Vec<usize>),
    F16(f16),
    F32(f32),
    Text(&'static str),
}

impl Constant {
    /// The constant in the format's messages.
    pub(super) fn value(self) -> Value {
        let (data_type, dims, value) = match self {
            Constant::Bool(value) => (DataType::Bool, vec![], TensorValues::Bools(Bools { values: vec![value] })),
            Constant::Bools(values) => {
                (DataType::Bool, vec![Dim::Fixed(values.len())], TensorValues::Bools(Bools { values }))
            }
            Constant::Int(value) => (DataType::Int32, vec![], TensorValues::Ints(Ints { values: vec![value] })),
            Constant::Ints(values) => {
                (DataType::Int32, vec![Dim::Fixed(values.len())], TensorValues::Ints(Ints { values }))
            }
            Constant::Extents(extents) => {
                let values = extents.iter().flat_map(|&extent| (extent as u32).to_le_bytes()).collect();
                (DataType::Uint32, vec![Dim::Fixed(extents.len())], TensorValues::Bytes(Bytes { values }))
            }
            Constant::F32(value) => (DataType::Float32, vec![], TensorValues::Floats(Floats { values: vec![value] })),
            Constant::F16(value) => {
                (DataType::Float16, vec![], TensorValues::Bytes(Bytes { values: value.to_le_bytes().to_vec() }))
            }
            Constant::Text(text) => {
                (DataType::String, vec![], TensorValues::Strings(Strings { values: vec![text.into()] }))
            }
        };
        let tensor = Some(TensorValue { value: Some(value) });
        let value = Some(ValueKind::Immediate(ImmediateValue { tensor }));
        Value { r#type: Some(value_type(data_type, &dims)), value }
    }
}

/// An argument of an operation.
pub(super) enum Operand<'a> {
    Tensor(&'a Tensor),
    Tensors(&'a [Tensor]),
    Indices(&'a Indices),
    Constant(Constant),
}

impl Tensor {
    /// The declaration of the value in the file.
    pub(in crate::write::coreml) fn named_type(&self) -> NamedValueType {
        NamedValueType { name: self.name.clone(), r#type: Some(value_type(self.dtype.data_type(), &self.dims)) }
    }
}

impl Indices {
    /// The declaration of the value in the file.
    pub(super) fn named_type(&self) -> NamedValueType {
        NamedValueType { name: self.name.clone(), r#type: Some(value_type(DataType::Int32, &self.dims)) }
    }
}

/// The type of a tensor in the format's messages.
pub(super) fn value_type(data_type: DataType, dims: &[Dim]) -> ValueType {
    let dimension = |dim: &Dim| {
        let kind = match dim {
            Dim::Fixed(size) => DimensionKind::Constant(ConstantDimension { size: *size as u64 }),
            Dim::Unknown => DimensionKind::Unknown(UnknownDimension { variadic: false }),
        };
        Dimension { dimension: Some(kind) }
    };
    let dimensions: Vec<_> = dims.iter().map(dimension).collect();
    let tensor_type = TensorType { data_type: data_type.into(), rank: dims.len() as i64, dimensions };
    ValueType { tensor_type: Some(tensor_type) }
}

/// The attribute `name`, which Core ML requires of every operation.
pub(super) fn name_attribute(name: &str) -> BTreeMap<String, Value> {
    let values = TensorValues::Strings(Strings { values: vec![name.to_string()] });
    let tensor = Some(TensorValue { value: Some(values) });
    let value = Some(ValueKind::Immediate(ImmediateValue { tensor }));
    BTreeMap::from([("name".to_string(), Value { r#type: Some(value_type(DataType::String, &[])), value })])
}
