//! The formats of tokens, and their choice by a name.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use super::gslm;
use super::text_file::check_name;
use crate::{Result, TokensError};

/// A format of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFormat {
    /// A JSON object for each file.
    Jsonl,
    /// HuBERT's labels: a line of tokens for each line of a `.tsv`.
    Km,
    /// GSLM's quantized units: `name|token token …`.
    Gslm,
    /// textlesslib's `units`, `durations` and `dense`, a JSON object for each file.
    Textless,
    /// numpy: the tokens of all files in one array, with the frames of each file in a `.len`.
    Npy,
    /// Parquet: a row for each file.
    Parquet,
}

impl TokenFormat {
    /// The format of an output with this name.
    ///
    /// # Errors
    /// [`TokensError::Format`] for any other extension.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => Ok(TokenFormat::Jsonl),
            Some("km") => Ok(TokenFormat::Km),
            Some("npy") => Ok(TokenFormat::Npy),
            Some("parquet") => Ok(TokenFormat::Parquet),
            _ => Err(TokensError::Format { path: path.into() }),
        }
    }

    /// Checks that an output can hold files of these names, before any of them is encoded.
    ///
    /// # Errors
    /// [`TokensError::Name`] for a name that would be misread, and in [`TokenFormat::Gslm`] for a second one that is the same
    /// without its folder and extension.
    pub fn check_names(self, names: impl IntoIterator<Item = String>) -> Result<()> {
        let mut taken = HashSet::new();
        names.into_iter().try_for_each(|name| match self {
            TokenFormat::Km | TokenFormat::Npy => check_name(&name, self.name(), '\t'),
            TokenFormat::Gslm => gslm::check(&name, &mut taken).map(drop),
            TokenFormat::Jsonl | TokenFormat::Textless | TokenFormat::Parquet => Ok(()),
        })
    }

    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            TokenFormat::Jsonl => "jsonl",
            TokenFormat::Km => "km",
            TokenFormat::Gslm => "gslm",
            TokenFormat::Textless => "textless",
            TokenFormat::Npy => "npy",
            TokenFormat::Parquet => "parquet",
        }
    }
}

impl FromStr for TokenFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALL: [TokenFormat; 6] = [
            TokenFormat::Jsonl,
            TokenFormat::Km,
            TokenFormat::Gslm,
            TokenFormat::Textless,
            TokenFormat::Npy,
            TokenFormat::Parquet,
        ];
        ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let names = ALL.map(TokenFormat::name).join(", ");
            format!("unknown format `{}`: expected one of {names}", mert_arch::printable_line(text))
        })
    }
}
