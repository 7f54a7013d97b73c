//! The parameters of a compressed weight: attributes up to iOS 17, arguments from iOS 18 on.

use std::collections::BTreeMap;

use super::codes::Codes;
use crate::candidate::coreml::blob::BlobFile;
use crate::candidate::coreml::proto::{self, Bound, Values};
use crate::candidate::coreml::types::{Code, Element, Type};
use crate::candidate::coreml::value::Value;

/// The last operation set in which the parameters are attributes.
const LAST_WITH_ATTRIBUTES: u32 = 7;

/// The parameters that have not been read yet.
pub(super) struct Parameters<'a> {
    values: BTreeMap<&'a str, &'a proto::Value>,
    /// The program's operation set.
    pub(super) opset: u32,
}

/// A float parameter.
pub(super) struct Floats {
    pub(super) element: Element,
    pub(super) values: Vec<f32>,
    pub(super) dims: Vec<usize>,
}

impl<'a> Parameters<'a> {
    pub(super) fn of(operation: &'a proto::Operation, opset: u32) -> Result<Self, String> {
        let attributes = operation.attributes.iter().filter(|(name, _)| *name != "name");
        if opset <= LAST_WITH_ATTRIBUTES {
            if let Some(parameter) = operation.inputs.keys().next() {
                return Err(format!("parameter `{parameter}` is an argument; in CoreML{opset} it is an attribute"));
            }
            let values = attributes.map(|(name, value)| (name.as_str(), value)).collect();
            return Ok(Parameters { values, opset });
        }
        if let Some((name, _)) = attributes.into_iter().next() {
            return Err(format!("parameter `{name}` is an attribute; in CoreML{opset} it is an argument"));
        }
        let mut values = BTreeMap::new();
        for (parameter, argument) in &operation.inputs {
            match &argument.arguments[..] {
                [proto::Binding { binding: Some(Bound::Value(value)) }] => values.insert(parameter.as_str(), value),
                [proto::Binding { binding: Some(Bound::Name(name)) }] => {
                    return Err(format!("parameter `{parameter}` is `{name}`, expected a value in its place"));
                }
                other => return Err(format!("parameter `{parameter}` has {} values, expected one", other.len())),
            };
        }
        Ok(Parameters { values, opset })
    }

    /// Refuses parameters that the operation did not read.
    pub(super) fn refuse_unused(&self) -> Result<(), String> {
        match self.values.keys().next() {
            Some(parameter) => Err(format!("unsupported parameter `{parameter}`")),
            None => Ok(()),
        }
    }

    pub(super) fn has(&self, parameter: &str) -> bool {
        self.values.contains_key(parameter)
    }

    fn take(&mut self, parameter: &str) -> Result<&'a proto::Value, String> {
        self.values.remove(parameter).ok_or_else(|| format!("parameter `{parameter}` is missing"))
    }

    /// Reads whole numbers of one of these types.
    pub(super) fn codes(&mut self, parameter: &str, types: &[Code], blobs: &mut BlobFile) -> Result<Codes, String> {
        let at = |reason: String| format!("parameter `{parameter}`: {reason}");
        let value = self.take(parameter)?;
        let declared = Type::decode(value.r#type.as_ref()).map_err(at)?;
        match declared.element {
            Element::Code(code) if types.contains(&code) => Codes::decode(value, code, &declared, blobs).map_err(at),
            _ => {
                let names: Vec<&str> = types.iter().map(|&code| Element::Code(code).name()).collect();
                Err(at(format!("it is {declared}, expected {}", names.join(" or "))))
            }
        }
    }

    /// Reads finite floats.
    pub(super) fn floats(&mut self, parameter: &str, blobs: &mut BlobFile) -> Result<Floats, String> {
        let at = |reason: String| format!("parameter `{parameter}`: {reason}");
        let value = self.take(parameter)?;
        let decoded = Value::decode(value, blobs, &candle_core::Device::Cpu).map_err(at)?;
        let Value::Float(element, tensor) = decoded else {
            return Err(at(format!("it is {}, expected fp16 or fp32", decoded.type_of())));
        };
        let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).map_err(|e| at(e.to_string()))?;
        Ok(Floats { element, values, dims: tensor.dims().to_vec() })
    }

    /// Reads one int32.
    pub(super) fn int(&mut self, parameter: &str, blobs: &mut BlobFile) -> Result<i32, String> {
        let at = |reason: String| format!("parameter `{parameter}`: {reason}");
        let decoded = Value::decode(self.take(parameter)?, blobs, &candle_core::Device::Cpu).map_err(at)?;
        decoded.int().ok_or_else(|| at(format!("it is {}, expected one int32", decoded.type_of())))
    }

    /// Reads the extents of a tensor, a list of uint32.
    pub(super) fn extents(&mut self, parameter: &str) -> Result<Vec<usize>, String> {
        let at = |reason: &str| format!("parameter `{parameter}`: {reason}");
        let value = self.take(parameter)?;
        let declared = Type::decode(value.r#type.as_ref()).map_err(|reason| at(&reason))?;
        let tensor = value.immediate.as_ref().and_then(|immediate| immediate.tensor.as_ref());
        let Some(Values::Bytes(bytes)) = tensor.and_then(|tensor| tensor.values.as_ref()) else {
            return Err(at("it is not an immediate value in bytes"));
        };
        let (words, rest) = bytes.values.as_chunks();
        if !rest.is_empty() || !declared.accepts(Element::Code(Code::U32), &[words.len()]) {
            return Err(at(&format!("it has {} bytes and is declared as {declared}", bytes.values.len())));
        }
        Ok(words.iter().map(|&word| u32::from_le_bytes(word) as usize).collect())
    }
}
