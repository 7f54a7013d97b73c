//! The options for running a candidate, by what they apply to: the arithmetic, and Core ML packages. They are apart from
//! the candidates so that a command line or a `verify.yaml` can be parsed into them.

use std::fmt;
use std::str::FromStr;

use mert_arch::{ComputeType, Dtype};
use mert_runtime::DeviceKind;

/// The device and arithmetic in which a candidate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ComputeOptions {
    /// The device on which the model runs.
    pub device: DeviceKind,
    /// The numbers that a converted file computes with; f32 by default. A package has its own types.
    pub dtype: Option<ComputeType>,
}

/// The options for running a Core ML package. A converted file accepts none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackageOptions {
    /// The engine that runs the package; the interpreter by default.
    pub engine: Option<PackageEngine>,
    /// The processors that Core ML may use; all of them by default.
    pub compute_units: Option<ComputeUnits>,
    /// The half precision that the interpreter emulates, if any.
    pub emulate: Option<Emulation>,
}

impl PackageOptions {
    /// Checks that the options go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.compute_units.is_some() && self.engine != Some(PackageEngine::CoreMl) {
            return Err("compute units are Core ML's: choose the engine coreml".into());
        }
        Ok(())
    }
}

/// The engine that runs a Core ML package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackageEngine {
    /// The interpreter of this crate, on any machine.
    #[default]
    Interpreter,
    /// Apple's Core ML, on a Mac, with the feature `coreml`.
    CoreMl,
}

impl FromStr for PackageEngine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "interpreter" => Ok(PackageEngine::Interpreter),
            "coreml" => Ok(PackageEngine::CoreMl),
            _ => Err(format!("unknown engine `{text}`: expected interpreter or coreml")),
        }
    }
}

/// The processors that Core ML may use, as `MLComputeUnits` of Apple's framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeUnits {
    /// All processors; Core ML chooses.
    #[default]
    All,
    /// The CPU only.
    Cpu,
    /// The CPU and the GPU.
    Gpu,
    /// The CPU and the Neural Engine.
    Ane,
}

impl ComputeUnits {
    /// The lower-case name used on the command line.
    const fn name(self) -> &'static str {
        match self {
            ComputeUnits::All => "all",
            ComputeUnits::Cpu => "cpu",
            ComputeUnits::Gpu => "gpu",
            ComputeUnits::Ane => "ane",
        }
    }
}

impl fmt::Display for ComputeUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ComputeUnits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [ComputeUnits::All, ComputeUnits::Cpu, ComputeUnits::Gpu, ComputeUnits::Ane]
            .into_iter()
            .find(|units| units.name() == text)
            .ok_or_else(|| format!("unknown compute units `{text}`: expected all, cpu, gpu or ane"))
    }
}

/// Half precision, emulated on a machine that computes in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulation {
    /// Every result that the program declares fp16 is rounded to fp16.
    F16,
}

impl FromStr for Emulation {
    type Err = String;

    /// Parses the names of [`Dtype::F16`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Dtype::F16) => Ok(Emulation::F16),
            _ => Err(format!("cannot emulate `{text}`: expected f16")),
        }
    }
}
