//! The element types of weights and of arithmetic, under the names that people type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The element type of a model's weights, or of the arithmetic of a forward pass.
///
/// ```
/// use mert_arch::Dtype;
///
/// assert_eq!("float16".parse(), Ok(Dtype::F16));
/// assert_eq!("bfloat16".parse(), Ok(Dtype::Bf16));
/// assert_eq!(Dtype::F32.to_string(), "f32");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// The IEEE 754 binary16 format: 11 bits of significand, largest finite value 65504.
    F16,
    /// The bfloat16 format: 8 bits of significand, the range of `F32`.
    Bf16,
    /// The IEEE 754 binary32 format.
    F32,
}

impl Dtype {
    /// Every dtype, in the order in which help texts list them.
    pub const ALL: [Dtype; 3] = [Dtype::F16, Dtype::Bf16, Dtype::F32];

    /// Number of bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
        }
    }

    /// The lower-case name on command lines and in the metadata of a file.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dtype {
    type Err = String;

    /// Parses the names of this project, PyTorch and numpy, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "f16" | "float16" | "fp16" | "half" => Ok(Dtype::F16),
            "bf16" | "bfloat16" => Ok(Dtype::Bf16),
            "f32" | "float32" | "fp32" | "float" => Ok(Dtype::F32),
            _ => Err(format!("unknown dtype `{text}`: expected f16, bf16 or f32")),
        }
    }
}

impl<'de> Deserialize<'de> for Dtype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs() {
        for (name, dtype) in [
            ("f16", Dtype::F16),
            ("float16", Dtype::F16),
            ("FP16", Dtype::F16),
            ("half", Dtype::F16),
            ("bf16", Dtype::Bf16),
            ("BFloat16", Dtype::Bf16),
            ("F32", Dtype::F32),
            ("float32", Dtype::F32),
            ("fp32", Dtype::F32),
        ] {
            assert_eq!(name.parse(), Ok(dtype), "{name}");
            assert_eq!(serde_json::from_str::<Dtype>(&format!("{name:?}")).unwrap(), dtype, "{name}");
        }
        for dtype in Dtype::ALL {
            assert_eq!(serde_json::to_string(&dtype).unwrap(), format!("\"{dtype}\""));
        }
        for name in ["", "f64", "int8", "fp8", "16"] {
            assert!(name.parse::<Dtype>().unwrap_err().contains("f16, bf16 or f32"), "{name}");
        }
    }
}
