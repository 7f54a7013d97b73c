//! Options of a Core ML package: clip lengths, hidden states, deployment target.

use std::fmt;
use std::str::FromStr;

use mert_arch::{Config, LayerSelection};

use crate::plan::{Compression, CompressionScheme};
use crate::{ConvertError, Result};

/// The choices for a package apart from the plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CoreMlOptions {
    /// The lengths of clip that the package takes.
    pub lengths: InputLengths,
    /// Whether the package also returns the hidden states of every frame, `frame_hidden_states`.
    pub frames: bool,
    /// The hidden states that the package returns. Layers above the highest are neither computed nor stored.
    pub layers: LayerSelection,
    /// The oldest system that the package must run on.
    pub minimum_deployment: DeploymentTarget,
}

/// The lengths of clip that a package takes, in seconds: `30`, `5,10,30`, or `1-30` for every length in the range.
///
/// The Neural Engine is fastest with one length and still eligible with listed ones. With a range, Core ML uses the other
/// processors.
#[derive(Debug, Clone, PartialEq)]
pub enum InputLengths {
    /// The listed lengths, of which the first is the default.
    Listed(Vec<f64>),
    /// Every length between two.
    Range(f64, f64),
}

impl Default for InputLengths {
    fn default() -> Self {
        InputLengths::Listed(vec![30.0])
    }
}

/// The limit on a clip's length. Attention's scores grow with the square of the length and take 22 GB for ten minutes.
const MAX_SECONDS: f64 = 600.0;

/// Core ML's limit on listed lengths.
const MAX_LISTED: usize = 128;

impl FromStr for InputLengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| -> Result<f64, String> {
            let seconds: f64 = part
                .trim()
                .parse()
                .map_err(|_| format!("invalid lengths `{text}`: expected seconds such as `30`, `5,10,30` or `1-30`"))?;
            if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
                return Err(format!("invalid length {seconds}: expected seconds above 0 and up to {MAX_SECONDS}"));
            }
            Ok(seconds)
        };
        // `5e-1` is a number, not a range.
        let is_number = text.trim().parse::<f64>().is_ok();
        if let Some((shortest, longest)) = text.split_once('-').filter(|_| !is_number && !text.contains(',')) {
            let (shortest, longest) = (number(shortest)?, number(longest)?);
            if shortest >= longest {
                return Err(format!("invalid range `{text}`: expected a shorter, then a longer length"));
            }
            return Ok(InputLengths::Range(shortest, longest));
        }
        let listed: Vec<f64> = text.split(',').map(number).collect::<Result<_, _>>()?;
        if listed.len() > MAX_LISTED {
            return Err(format!("{} lengths are listed, expected at most {MAX_LISTED}", listed.len()));
        }
        Ok(InputLengths::Listed(listed))
    }
}

impl fmt::Display for InputLengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputLengths::Listed(listed) => {
                let listed: Vec<String> = listed.iter().map(f64::to_string).collect();
                f.write_str(&listed.join(","))
            }
            InputLengths::Range(shortest, longest) => write!(f, "{shortest}-{longest}"),
        }
    }
}

/// The lengths of clip that a package takes, in samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InputSamples {
    /// A single length.
    Fixed(usize),
    /// Two or more, without repetition; the first is the default.
    Listed(Vec<usize>),
    /// Every length between two.
    Range(usize, usize),
}

impl InputSamples {
    /// The longest of the lengths.
    pub(super) fn longest(&self) -> usize {
        match self {
            InputSamples::Fixed(samples) | InputSamples::Range(_, samples) => *samples,
            InputSamples::Listed(listed) => listed.iter().copied().max().unwrap_or_default(),
        }
    }
}

impl InputLengths {
    /// The lengths in samples at `rate` hertz, rounded to the nearest.
    pub(super) fn in_samples(&self, config: &Config, rate: u32) -> Result<InputSamples> {
        let samples = |seconds: f64| -> Result<usize> {
            let samples = (seconds * f64::from(rate)).round() as usize;
            if config.frames(samples).is_none() {
                let needed = config.receptive_field();
                return Err(ConvertError::core_ml(format!(
                    "a clip of {seconds} s has {samples} samples at {rate} Hz, but one frame needs {needed}; give a \
                     longer --seconds"
                )));
            }
            Ok(samples)
        };
        match self {
            InputLengths::Range(shortest, longest) => {
                let (shortest, longest) = (samples(*shortest)?, samples(*longest)?);
                Ok(if shortest == longest {
                    InputSamples::Fixed(shortest)
                } else {
                    InputSamples::Range(shortest, longest)
                })
            }
            InputLengths::Listed(listed) => {
                let mut unique = Vec::new();
                for &seconds in listed {
                    let samples = samples(seconds)?;
                    if !unique.contains(&samples) {
                        unique.push(samples);
                    }
                }
                Ok(match unique[..] {
                    [] => return Err(ConvertError::core_ml("no length of clip is given")),
                    [only] => InputSamples::Fixed(only),
                    _ => InputSamples::Listed(unique),
                })
            }
        }
    }
}

/// The oldest system that a package must run on, which decides the available operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DeploymentTarget {
    /// iOS 15, macOS 12: specification 6.
    #[default]
    Ios15,
    /// iOS 16, macOS 13: specification 7.
    Ios16,
    /// iOS 17, macOS 14: specification 8.
    Ios17,
    /// iOS 18, macOS 15: specification 9, with attention as one operation.
    Ios18,
}

impl DeploymentTarget {
    /// Every target, the oldest first.
    pub const ALL: [DeploymentTarget; 4] =
        [DeploymentTarget::Ios15, DeploymentTarget::Ios16, DeploymentTarget::Ios17, DeploymentTarget::Ios18];

    /// The lower-case name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            DeploymentTarget::Ios15 => "ios15",
            DeploymentTarget::Ios16 => "ios16",
            DeploymentTarget::Ios17 => "ios17",
            DeploymentTarget::Ios18 => "ios18",
        }
    }

    /// The version of Core ML's model format that the system introduced.
    pub(super) const fn specification_version(self) -> i32 {
        match self {
            DeploymentTarget::Ios15 => 6,
            DeploymentTarget::Ios16 => 7,
            DeploymentTarget::Ios17 => 8,
            DeploymentTarget::Ios18 => 9,
        }
    }

    /// The system's set of operations.
    pub(super) const fn opset(self) -> &'static str {
        match self {
            DeploymentTarget::Ios15 => "CoreML5",
            DeploymentTarget::Ios16 => "CoreML6",
            DeploymentTarget::Ios17 => "CoreML7",
            DeploymentTarget::Ios18 => "CoreML8",
        }
    }

    /// The oldest system that has compressed weights of this form.
    pub(super) const fn with_compression(compression: &Compression) -> DeploymentTarget {
        match compression.scheme {
            CompressionScheme::Palettize(_) => DeploymentTarget::Ios16,
            CompressionScheme::Linear(codes) if codes.bits() == 8 && compression.block_size.is_none() => {
                DeploymentTarget::Ios16
            }
            CompressionScheme::Linear(_) => DeploymentTarget::Ios18,
        }
    }

    /// Whether the system has attention as one operation.
    pub(super) const fn has_attention(self) -> bool {
        matches!(self, DeploymentTarget::Ios18)
    }
}

impl fmt::Display for DeploymentTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DeploymentTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        DeploymentTarget::ALL
            .into_iter()
            .find(|target| target.name() == text)
            .ok_or_else(|| format!("unknown deployment target `{text}`: expected ios15, ios16, ios17 or ios18"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let samples =
            |text: &str| text.parse::<InputLengths>().unwrap().in_samples(&Config::mert_v1_95m(), 24_000).unwrap();
        assert_eq!(samples("30"), InputSamples::Fixed(720_000));
        assert_eq!(samples("5, 10,5"), InputSamples::Listed(vec![120_000, 240_000]));
        assert_eq!(samples("0.5-30"), InputSamples::Range(12_000, 720_000));
        assert_eq!(samples("10,10"), InputSamples::Fixed(240_000));
        assert_eq!(samples("5e-1"), InputSamples::Fixed(12_000));
        assert_eq!(samples("5e-1,1"), InputSamples::Listed(vec![12_000, 24_000]));
        for text in ["", "0", "-5", "30-5", "5-5", "nan", "inf", "601", "5,,10", "a", "1-2-3"] {
            assert!(text.parse::<InputLengths>().is_err(), "{text}");
        }
        let too_short =
            "0.001".parse::<InputLengths>().unwrap().in_samples(&Config::mert_v1_95m(), 24_000).unwrap_err();
        assert!(too_short.to_string().contains("needs 400"), "{too_short}");
        let many: Vec<String> = (1..=129).map(|n| n.to_string()).collect();
        assert!(many.join(",").parse::<InputLengths>().is_err());
    }
}
