//! The numbers that a forward pass computes with, under the names that people type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Dtype;

/// The numbers that a forward pass computes with, whatever the dtype of the file.
///
/// ```
/// use mert_arch::{ComputeType, Dtype};
///
/// assert_eq!("int8".parse(), Ok(ComputeType::Int8));
/// assert_eq!("bfloat16".parse(), Ok(ComputeType::Float(Dtype::Bf16)));
/// assert_eq!(ComputeType::from(Dtype::F32).to_string(), "f32");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComputeType {
    /// Floats of this type.
    Float(Dtype),
    /// 8-bit integers in the products with weights, bf16 in those of attention, f32 elsewhere.
    Int8,
}

impl ComputeType {
    /// Every compute type, in the order in which help texts list them.
    pub const ALL: [ComputeType; 4] = [ComputeType::F32, ComputeType::F16, ComputeType::BF16, ComputeType::Int8];

    /// Single precision.
    pub const F32: ComputeType = ComputeType::Float(Dtype::F32);

    /// Half precision: IEEE 754 binary16.
    pub const F16: ComputeType = ComputeType::Float(Dtype::F16);

    /// bfloat16.
    pub const BF16: ComputeType = ComputeType::Float(Dtype::Bf16);

    /// The float type; `None` for integers.
    pub const fn float(self) -> Option<Dtype> {
        match self {
            ComputeType::Float(dtype) => Some(dtype),
            ComputeType::Int8 => None,
        }
    }

    /// The lower-case name on command lines and in files.
    pub const fn name(self) -> &'static str {
        match self {
            ComputeType::Float(dtype) => dtype.name(),
            ComputeType::Int8 => "int8",
        }
    }
}

impl Default for ComputeType {
    fn default() -> Self {
        ComputeType::F32
    }
}

impl From<Dtype> for ComputeType {
    fn from(dtype: Dtype) -> Self {
        ComputeType::Float(dtype)
    }
}

impl PartialEq<Dtype> for ComputeType {
    fn eq(&self, dtype: &Dtype) -> bool {
        *self == ComputeType::Float(*dtype)
    }
}

impl fmt::Display for ComputeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ComputeType {
    type Err = String;

    /// Parses the names of this project, PyTorch and numpy, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "int8" | "i8" => Ok(ComputeType::Int8),
            _ => text
                .parse()
                .map(ComputeType::Float)
                .map_err(|_: String| format!("unknown dtype `{text}`: expected f32, f16, bf16 or int8")),
        }
    }
}

impl Serialize for ComputeType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ComputeType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_are_typed_and_stored() {
        for compute in ComputeType::ALL {
            assert_eq!(compute.to_string().parse(), Ok(compute));
            let stored = serde_json::to_string(&compute).unwrap();
            assert_eq!(stored, format!("\"{compute}\""));
            assert_eq!(serde_json::from_str::<ComputeType>(&stored).unwrap(), compute);
        }
        assert!("int4".parse::<ComputeType>().unwrap_err().contains("expected f32, f16, bf16 or int8"));
    }
}
