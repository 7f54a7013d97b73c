//! GSLM's quantized units: `name|token token …`, a line for each file, with the file's name without its folder and extension,
//! as `quantize_with_kmeans.py` of fairseq writes it.

use std::collections::HashMap;
use std::path::Path;

use super::text_file::{OutputFile, check_name};
use super::{OutputInfo, TokenSequence, deduplicate};
use crate::{Result, TokensError};

#[derive(Debug)]
pub(super) struct Writer {
    file: OutputFile,
    /// The files by the name that stands for them.
    names: HashMap<String, String>,
}

impl Writer {
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        Ok(Writer { file: OutputFile::create(path, force)?, names: HashMap::new() })
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        let path = Path::new(&sequence.file);
        let name = path.file_stem().map_or(sequence.file.clone(), |stem| stem.to_string_lossy().into_owned());
        check_name(&name, "gslm", '|')?;
        // A line does not say the folder: two files of one name could not be told apart.
        if self.names.insert(name.clone(), sequence.file.clone()).is_some() {
            return Err(TokensError::Name {
                name: mert_arch::printable_line(&sequence.file).to_string(),
                format: "gslm",
                reason: "another file has the same name without folder and extension; rename one, or write jsonl",
            });
        }
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
