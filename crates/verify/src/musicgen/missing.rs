//! The parts that a bundle may lack, such as one that was converted without T5. What a reference has for a part that is missing
//! fails, unless the caller says that it is missing on purpose.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::verdict::PartVerdict;

/// A part of a bundle in a folder of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundlePart {
    /// The text encoder, `t5/`.
    T5,
    /// The codec, `encodec/`.
    Encodec,
}

impl BundlePart {
    /// Every part.
    pub const ALL: [BundlePart; 2] = [BundlePart::T5, BundlePart::Encodec];

    /// The name of its folder.
    pub const fn folder(self) -> &'static str {
        match self {
            BundlePart::T5 => "t5",
            BundlePart::Encodec => "encodec",
        }
    }

    /// The option of `mert-convert` that adds it.
    const fn option(self) -> &'static str {
        match self {
            BundlePart::T5 => "--t5 FOLDER",
            BundlePart::Encodec => "--codec FILE",
        }
    }

    /// `None` if the bundle has the part; else the verdict on `what` the reference has for it.
    pub(super) fn missing(
        self,
        bundle: &Path,
        what: &str,
        allowed: &[BundlePart],
    ) -> Option<Result<Vec<PartVerdict>, String>> {
        if bundle.join(self.folder()).is_dir() {
            return None;
        }
        let (part, option) = (self.folder(), self.option());
        Some(match allowed.contains(&self) {
            true => Err(format!("{what}: the bundle has no {part}/, which --allow-missing {part} permits")),
            false => {
                let fault = format!(
                    "the bundle has no {part}/: convert again with {option}, or give --allow-missing {part} if it is meant to be \
                     without"
                );
                Ok(vec![PartVerdict::fault(what, fault)])
            }
        })
    }
}

impl FromStr for BundlePart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = BundlePart::ALL.into_iter().find(|part| part.folder() == text);
        found.ok_or_else(|| format!("unknown part `{text}`: expected t5 or encodec"))
    }
}

impl fmt::Display for BundlePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.folder())
    }
}
