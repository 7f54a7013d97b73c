//! The tokenizer: texts to the numbers of their pieces, with `</s>` at the end.

use std::path::{Path, PathBuf};

use mert_arch::T5Config;
use tokenizers::Tokenizer as Pieces;

use crate::{Result, T5Error};

/// The file of transformers' fast tokenizers.
const FILE: &str = "tokenizer.json";

/// A tokenizer of a folder.
pub(crate) struct Tokenizer {
    pieces: Pieces,
    path: PathBuf,
    end: u32,
}

impl Tokenizer {
    /// Reads the `tokenizer.json` of a folder.
    ///
    /// # Errors
    /// [`T5Error::NoFile`] and [`T5Error::Tokenizer`].
    pub(crate) fn open(folder: &Path, config: &T5Config) -> Result<Self> {
        let path = folder.join(FILE);
        if !path.is_file() {
            let advice = if folder.join("spiece.model").is_file() {
                "it has spiece.model alone; AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes \
                 the other"
            } else {
                "copy it from the folder of the model, such as t5-base"
            };
            return Err(T5Error::NoFile { folder: folder.into(), file: FILE, contents: "the pieces of texts", advice });
        }
        let invalid = |error| T5Error::Tokenizer { path: path.clone(), reason: format!("not a tokenizer: {error}") };
        let mut pieces = Pieces::from_file(&path).map_err(invalid)?;
        // A file may keep those of its last use in training. transformers, too, leaves both to the caller.
        pieces.with_padding(None).with_truncation(None).map_err(invalid)?;
        // Models have up to 127 rows that no piece has: the number is rounded up for the hardware.
        let last = pieces.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if last >= config.vocab_size {
            let (found, rows) = (last + 1, config.vocab_size);
            let reason = format!(
                "it has {found} pieces, expected at most `vocab_size` of config.json, {rows}: it is the tokenizer of another model; \
                 copy tokenizer.json from the folder of this one"
            );
            return Err(T5Error::Tokenizer { path, reason });
        }
        Ok(Tokenizer { pieces, path, end: config.eos_token_id })
    }

    /// The numbers of a text's pieces, with `</s>` at the end.
    ///
    /// # Errors
    /// [`T5Error::Tokenizer`].
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let invalid = |reason: String| T5Error::Tokenizer { path: self.path.clone(), reason };
        let encoded = self.pieces.encode(text, true).map_err(|error| invalid(format!("the text `{text}`: {error}")))?;
        let ids = encoded.get_ids().to_vec();
        if ids.last() != Some(&self.end) {
            let found = ids.last().map_or("nothing".to_string(), |id| format!("token {id}"));
            let end = self.end;
            return Err(invalid(format!(
                "a text ends with {found}, expected </s>, token {end}: it is no tokenizer of T5"
            )));
        }
        Ok(ids)
    }
}
