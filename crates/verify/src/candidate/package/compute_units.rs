use std::fmt;
use std::str::FromStr;

/// The processors that Core ML may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeUnits {
    /// Whichever Core ML chooses.
    #[default]
    All,
    /// The processor alone.
    Cpu,
    /// The processor and the GPU.
    Gpu,
    /// The processor and the Neural Engine.
    Ane,
}

impl ComputeUnits {
    /// The lower-case name used on the command line.
    pub const fn name(self) -> &'static str {
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
