//! The modes of MLX's quantization.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Quantization;

/// The meaning of the codes and scales of a quantized weight, under MLX's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantizationMode {
    /// A code q is the value scale · q + bias; scale and bias are floats.
    Affine,
    /// The microscaling format of [OCP](https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf)
    /// with codes in E2M1 and a power of two for each 32 values.
    Mxfp4,
    /// The microscaling format with codes in E4M3 and a power of two for each 32 values.
    Mxfp8,
    /// NVIDIA's format with codes in E2M1 and a scale in E4M3 for each 16 values.
    Nvfp4,
}

impl QuantizationMode {
    /// Every mode, in the order in which help texts list them.
    pub const ALL: [QuantizationMode; 4] =
        [QuantizationMode::Affine, QuantizationMode::Mxfp4, QuantizationMode::Mxfp8, QuantizationMode::Nvfp4];

    /// The name in `config.json` and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            QuantizationMode::Affine => "affine",
            QuantizationMode::Mxfp4 => "mxfp4",
            QuantizationMode::Mxfp8 => "mxfp8",
            QuantizationMode::Nvfp4 => "nvfp4",
        }
    }

    /// The bits of a code that the mode has.
    pub const fn bits(self) -> &'static [usize] {
        match self {
            QuantizationMode::Affine => &[2, 3, 4, 5, 6, 8],
            QuantizationMode::Mxfp4 | QuantizationMode::Nvfp4 => &[4],
            QuantizationMode::Mxfp8 => &[8],
        }
    }

    /// The group sizes that the mode has.
    pub const fn group_sizes(self) -> &'static [usize] {
        match self {
            QuantizationMode::Affine => &[32, 64, 128],
            QuantizationMode::Mxfp4 | QuantizationMode::Mxfp8 => &[32],
            QuantizationMode::Nvfp4 => &[16],
        }
    }

    /// The bits and group size that MLX and mlx-lm take by default.
    pub const fn default_quantization(self) -> Quantization {
        let (bits, group_size) = match self {
            QuantizationMode::Affine => (4, 64),
            QuantizationMode::Mxfp4 => (4, 32),
            QuantizationMode::Mxfp8 => (8, 32),
            QuantizationMode::Nvfp4 => (4, 16),
        };
        Quantization { group_size, bits, mode: self }
    }
}

impl fmt::Display for QuantizationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for QuantizationMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = QuantizationMode::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| format!("unknown quantization mode `{text}`: expected affine, mxfp4, mxfp8 or nvfp4"))
    }
}
