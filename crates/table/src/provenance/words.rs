//! Settings that are one word of a few.

use std::fmt;
use std::str::FromStr;

use super::text::serialize_as_text;

/// Implements the text form of an enum with one word for each variant.
macro_rules! words {
    ($type:ident, $noun:literal, $expected:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// All values, in the order in which messages list them.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The word that is recorded.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = $type::ALL.iter().find(|value| value.name() == text);
                found.copied().ok_or_else(|| format!(concat!("unknown ", $noun, " `{}`: expected ", $expected), text))
            }
        }

        serialize_as_text!($type);
    };
}

/// The pooling of the frames of a window into one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pool {
    /// The mean over frames.
    #[default]
    Mean,
    /// The largest value of each dimension.
    Max,
    /// The mean, then the standard deviation (of the population: divided by the number of frames), twice as long.
    MeanStd,
    /// No pooling: every frame is a vector.
    None,
}

words!(Pool, "pooling", "mean, max, mean+std or none", Mean = "mean", Max = "max", MeanStd = "mean+std", None = "none");

impl Pool {
    /// Whether rows are frames.
    pub const fn has_frames(self) -> bool {
        matches!(self, Pool::None)
    }

    /// The length of a vector, for frames of `width` values.
    pub const fn dim(self, width: usize) -> usize {
        if matches!(self, Pool::MeanStd) { 2 * width } else { width }
    }

    /// The number of vectors for a window of `frames` frames.
    pub const fn rows(self, frames: usize) -> usize {
        if self.has_frames() { frames } else { 1 }
    }
}

/// The scaling of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalization {
    /// A Euclidean length of 1; a vector of zeros stays as it is.
    L2,
    /// No scaling.
    #[default]
    None,
}

words!(Normalization, "normalization", "l2 or none", L2 = "l2", None = "none");

/// The treatment of the remainder of a file that sliding windows do not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// One more window that ends with the file.
    #[default]
    Align,
    /// A shorter window at the next hop.
    Keep,
    /// No window.
    Drop,
}

words!(Tail, "tail", "align, keep or drop", Align = "align", Keep = "keep", Drop = "drop");

/// The parts of a file that a row of several encoders has of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// The same window, pooled.
    Window,
    /// A frame of the first encoder, and of each other encoder the frame whose centre is nearest in time; of two as near,
    /// the earlier.
    NearestFrame,
}

words!(Alignment, "alignment", "window or nearest-frame", Window = "window", NearestFrame = "nearest-frame");

/// A linear map of frames before they are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// The head `final_proj` of HuBERT and ContentVec.
    FinalProj,
}

words!(Projection, "projection", "final_proj", FinalProj = "final_proj");

/// The treatment of files that are damaged or end too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Damage {
    /// Such files are left out: `--damaged skip` of `mert-embed`.
    #[default]
    Refuse,
    /// The part that can be decoded is embedded.
    Keep,
}

words!(Damage, "treatment of damage", "refuse or keep", Refuse = "refuse", Keep = "keep");

/// The device that ran the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// Apple's GPU.
    Metal,
    /// NVIDIA's GPU.
    Cuda,
}

words!(Device, "device", "cpu, metal or cuda", Cpu = "cpu", Metal = "metal", Cuda = "cuda");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for &pool in Pool::ALL {
            assert_eq!(pool.name().parse(), Ok(pool));
            assert_eq!(pool.to_string(), pool.name());
        }
        assert_eq!(
            "median".parse::<Pool>().unwrap_err(),
            "unknown pooling `median`: expected mean, max, mean+std or none"
        );
        assert_eq!("drop".parse(), Ok(Tail::Drop));
        assert_eq!(serde_json::to_string(&Damage::Keep).unwrap(), "\"keep\"");
    }
}
