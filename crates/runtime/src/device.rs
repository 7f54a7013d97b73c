use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
use mert_arch::Dtype;

use crate::Error;

/// Where the forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The processor.
    #[default]
    Cpu,
    /// Apple's GPU; needs the feature `metal`.
    Metal,
    /// NVIDIA's GPU; needs the feature `cuda`.
    Cuda,
}

impl DeviceKind {
    /// The lower-case name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Metal => "metal",
            DeviceKind::Cuda => "cuda",
        }
    }

    /// Opens the first device of this kind.
    ///
    /// # Errors
    /// [`Error::Device`] if this build or this machine has none.
    pub fn open(self) -> Result<Device, Error> {
        let built = match self {
            DeviceKind::Cpu => return Ok(Device::Cpu),
            DeviceKind::Metal => cfg!(feature = "metal"),
            DeviceKind::Cuda => cfg!(feature = "cuda"),
        };
        let refused = |reason| Error::Device { device: self.name(), reason };
        if !built {
            return Err(refused(format!("this build lacks it; build with --features {}", self.name())));
        }
        let device = if self == DeviceKind::Metal { Device::new_metal(0) } else { Device::new_cuda(0) };
        device.map_err(|e| refused(e.to_string()))
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [DeviceKind::Cpu, DeviceKind::Metal, DeviceKind::Cuda]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("unknown device `{text}`: expected cpu, metal or cuda"))
    }
}

/// The element type in which the forward pass computes; whatever type the file has is converted.
///
/// The 16-bit types are for GPUs. They also run on the CPU, slowly, which shows what half-precision
/// arithmetic costs in accuracy without a GPU at hand.
pub type ComputeDtype = Dtype;

/// candle's name for a dtype.
pub(crate) fn candle_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::F32 => DType::F32,
    }
}
