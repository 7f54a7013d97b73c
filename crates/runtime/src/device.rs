//! The devices that run the forward pass, under the names that people type: the toolkit's and PyTorch's.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
use mert_arch::Dtype;

use crate::Error;

/// The kind of device that runs the forward pass.
///
/// ```
/// use mert_runtime::DeviceKind;
///
/// assert_eq!("cpu".parse(), Ok(DeviceKind::Cpu));
/// assert_eq!("mps".parse(), Ok(DeviceKind::Metal));
/// assert_eq!("cuda:0".parse(), Ok(DeviceKind::Cuda));
/// assert!("tpu".parse::<DeviceKind>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The processor.
    #[default]
    Cpu,
    /// Apple's GPU, which PyTorch calls `mps`; needs the feature `metal`.
    Metal,
    /// The first NVIDIA GPU; needs the feature `cuda`.
    Cuda,
}

impl DeviceKind {
    /// The lower-case name that command lines and reports use.
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
    /// [`Error::Device`] if this build does not support the device or the machine does not have it.
    pub fn open(self) -> Result<Device, Error> {
        let built = match self {
            DeviceKind::Cpu => return Ok(Device::Cpu),
            DeviceKind::Metal => cfg!(feature = "metal"),
            DeviceKind::Cuda => cfg!(feature = "cuda"),
        };
        if !built {
            return Err(Error::device(self, format!("this build lacks it; build with --features {self}")));
        }
        let device = if self == DeviceKind::Metal { Device::new_metal(0) } else { Device::new_cuda(0) };
        device.map_err(|error| match Error::from(error) {
            Error::Candle(error) => Error::device(self, error.to_string()),
            other => other,
        })
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    /// Parses a name of this toolkit or of PyTorch, in any case: `mps` is Metal, `cuda:0` is CUDA, and `auto` is the
    /// GPU that this build supports, or else the CPU.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "metal" | "mps" | "mps:0" => Ok(DeviceKind::Metal),
            "cuda" | "cuda:0" => Ok(DeviceKind::Cuda),
            "auto" if cfg!(feature = "metal") => Ok(DeviceKind::Metal),
            "auto" if cfg!(feature = "cuda") => Ok(DeviceKind::Cuda),
            "cpu" | "auto" => Ok(DeviceKind::Cpu),
            _ => Err(format!("unknown device `{text}`: expected cpu, metal (mps), cuda (cuda:0) or auto")),
        }
    }
}

/// The candle name of a dtype.
pub(crate) fn candle_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::F32 => DType::F32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pytorch_and_of_this_toolkit() {
        for (name, kind) in [
            ("cpu", DeviceKind::Cpu),
            ("CPU", DeviceKind::Cpu),
            ("metal", DeviceKind::Metal),
            ("mps", DeviceKind::Metal),
            ("cuda", DeviceKind::Cuda),
            ("CUDA:0", DeviceKind::Cuda),
        ] {
            assert_eq!(name.parse(), Ok(kind), "{name}");
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for name in ["", "tpu", "cuda:1", "cuda0", "xla"] {
            let error = name.parse::<DeviceKind>().unwrap_err();
            assert!(error.contains("expected cpu, metal"), "{error}");
        }
    }

    #[test]
    fn auto_is_the_gpu_of_the_build() {
        let expected = match (cfg!(feature = "metal"), cfg!(feature = "cuda")) {
            (true, _) => DeviceKind::Metal,
            (false, true) => DeviceKind::Cuda,
            (false, false) => DeviceKind::Cpu,
        };
        assert_eq!("auto".parse(), Ok(expected));
    }
}
