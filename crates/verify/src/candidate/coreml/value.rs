//! The values of a program: constants as they are decoded, and results as they are computed.

use candle_core::{Device, Tensor};
use half::f16;

use super::blob::BlobFile;
use super::proto::{self, Values};
use super::types::{Element, Type};

/// Checks that a value is in the package's only file of weights.
pub(super) fn check_file_name(blob: &proto::BlobFile) -> Result<(), String> {
    const FILE: &str = "@model_path/weights/weight.bin";
    if blob.file_name == FILE {
        return Ok(());
    }
    Err(format!("it is in `{}`, expected `{FILE}`", blob.file_name))
}

/// A value of a running program.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A tensor of fp16 or fp32, held in f32.
    Float(Element, Tensor),
    /// A tensor of int32, row-major.
    Ints(Vec<i32>, Vec<usize>),
    /// A tensor of bool, row-major.
    Bools(Vec<bool>, Vec<usize>),
    /// A single string.
    Text(String),
}

impl Value {
    pub(super) fn element(&self) -> Element {
        match self {
            Value::Float(element, _) => *element,
            Value::Ints(..) => Element::I32,
            Value::Bools(..) => Element::Bool,
            Value::Text(_) => Element::String,
        }
    }

    pub(super) fn dims(&self) -> &[usize] {
        match self {
            Value::Float(_, tensor) => tensor.dims(),
            Value::Ints(_, dims) | Value::Bools(_, dims) => dims,
            Value::Text(_) => &[],
        }
    }

    /// The values of a one-dimensional int32 tensor.
    pub(super) fn ints(&self) -> Option<&[i32]> {
        match self {
            Value::Ints(values, dims) if dims.len() == 1 => Some(values),
            _ => None,
        }
    }

    /// The value of an int32 scalar.
    pub(super) fn int(&self) -> Option<i32> {
        match self {
            Value::Ints(values, dims) if dims.is_empty() => values.first().copied(),
            _ => None,
        }
    }

    /// The values of a one-dimensional bool tensor.
    pub(super) fn bools(&self) -> Option<&[bool]> {
        match self {
            Value::Bools(values, dims) if dims.len() == 1 => Some(values),
            _ => None,
        }
    }

    /// The value of a bool scalar.
    pub(super) fn bool(&self) -> Option<bool> {
        match self {
            Value::Bools(values, dims) if dims.is_empty() => values.first().copied(),
            _ => None,
        }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The element type and shape.
    pub(super) fn type_of(&self) -> Type {
        Type::new(self.element(), self.dims())
    }

    /// Checks that the value has the type that is declared for it.
    pub(super) fn check(&self, declared: &Type) -> Result<(), String> {
        if declared.accepts(self.element(), self.dims()) {
            return Ok(());
        }
        Err(format!("it is {}, but {declared} is declared", self.type_of()))
    }

    /// Decodes a constant.
    pub(super) fn decode(value: &proto::Value, blobs: &mut BlobFile, device: &Device) -> Result<Self, String> {
        let declared = Type::decode(value.r#type.as_ref())?;
        let count = declared.count()?;
        let floats = |values: Vec<f32>| -> Result<Value, String> {
            if values.len() != count {
                return Err(format!("it has {} values, but {declared} is declared", values.len()));
            }
            let tensor = Tensor::from_vec(values, declared.extents(), device).map_err(|e| e.to_string())?;
            Ok(Value::Float(declared.element, tensor))
        };
        match (&value.immediate, &value.blob_file) {
            (None, Some(blob)) => {
                check_file_name(blob)?;
                floats(blobs.read(blob.offset, &declared)?)
            }
            (Some(immediate), None) => {
                let values = immediate.tensor.as_ref().and_then(|tensor| tensor.values.as_ref());
                match (declared.element, values) {
                    (Element::F32, Some(Values::Floats(values))) => floats(values.values.clone()),
                    (Element::F16, Some(Values::Bytes(bytes))) if bytes.values.len().is_multiple_of(2) => {
                        let halves = bytes.values.as_chunks().0;
                        floats(halves.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect())
                    }
                    (Element::I32, Some(Values::Ints(values))) if values.values.len() == count => {
                        Ok(Value::Ints(values.values.clone(), declared.extents()))
                    }
                    (Element::Bool, Some(Values::Bools(values))) if values.values.len() == count => {
                        Ok(Value::Bools(values.values.clone(), declared.extents()))
                    }
                    (Element::String, Some(Values::Strings(values))) if declared.dims.is_empty() => {
                        match &values.values[..] {
                            [value] => Ok(Value::Text(value.clone())),
                            values => Err(format!("it has {} values, expected one", values.len())),
                        }
                    }
                    _ => Err(format!("its values are not those of {declared}")),
                }
            }
            _ => Err("it has neither an immediate value nor one in a file, or both".into()),
        }
    }

    /// Decodes a string, such as an operation's name; `None` for any other value.
    pub(super) fn decode_text(value: &proto::Value) -> Option<&str> {
        let declared = Type::decode(value.r#type.as_ref()).ok()?;
        let values = value.immediate.as_ref()?.tensor.as_ref()?.values.as_ref()?;
        match values {
            Values::Strings(strings) if declared.accepts(Element::String, &[]) => match &strings.values[..] {
                [text] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}
