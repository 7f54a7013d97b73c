//! Element type and device of the arithmetic, recorded as `f32 on cpu`.

use std::fmt;
use std::str::FromStr;

use mert_arch::ComputeType;

use super::text::serialize_as_text;
use super::words::Device;

/// The arithmetic of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// The numbers that it computes with.
    pub dtype: ComputeType,
    /// The device.
    pub device: Device,
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.dtype, self.device)
    }
}

impl FromStr for Arithmetic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (dtype, device) = text
            .split_once(" on ")
            .ok_or_else(|| format!("unknown arithmetic `{text}`: expected DTYPE on DEVICE, such as f32 on cpu"))?;
        Ok(Arithmetic { dtype: dtype.parse()?, device: device.parse()? })
    }
}

serialize_as_text!(Arithmetic);
