//! GSLM's quantized units: `name|token token …`, a line for each file, with the file's name without its folder and extension,
//! as `quantize_with_kmeans.py` of fairseq writes it.

use std::collections::HashSet;
use std::path::Path;

use super::text_file::{OutputFile, check_name};
use super::{OutputInfo, TokenSequence, deduplicate};
use crate::{Result, TokensError};

#[derive(Debug)]
pub(super) struct Writer {
    file: OutputFile,
    /// The names of the lines.
    names: HashSet<String>,
}

/// The name that stands for a file in its line, added to `taken`.
pub(super) fn check(file: &str, taken: &mut HashSet<String>) -> Result<String> {
    let name = Path::new(file).file_stem().map_or(file.to_string(), |stem| stem.to_string_lossy().into_owned());
    check_name(&name, "gslm", '|')?;
    // A line does not say the folder: two files of one name could not be told apart.
    if !taken.insert(name.clone()) {
        return Err(TokensError::Name {
            name: mert_arch::printable_line(file).to_string(),
            format: "gslm",
            reason: "another file has the same name without folder and extension; rename one, or write jsonl",
        });
    }
    Ok(name)
}

impl Writer {
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        Ok(Writer { file: OutputFile::create(path, force)?, names: HashSet::new() })
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        let name = check(&sequence.file, &mut self.names)?;
        let prefix = format!("{name}|");
        match info.deduplicate {
            true => self.file.line(&prefix, &deduplicate(&sequence.tokens).0),
            false => self.file.line(&prefix, &sequence.tokens),
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        self.file.commit()
    }
}
