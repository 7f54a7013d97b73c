//! The writer of tokens in any format: one file at a time, and the output appears when it is finished.

use std::path::Path;

use super::{OutputInfo, TokenFormat, TokenSequence, gslm, jsonl, km, npy, parquet, textless};
use crate::{Result, TokensError};

/// A writer of the tokens of files. Dropping it without [`TokenWriter::finish`] leaves nothing.
///
/// ```
/// use mert_tokens::output::{OutputInfo, TokenFormat, TokenSequence, TokenWriter};
///
/// let info = OutputInfo {
///     k: 2048,
///     frame_hop: 320,
///     sample_rate: 24_000,
///     hidden_state: 12,
///     model_sha256: "ab".repeat(32),
///     vocabulary_sha256: "cd".repeat(32),
///     generator: "example 1.0".into(),
///     deduplicate: true,
/// };
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("tokens.jsonl");
/// let mut writer = TokenWriter::create(&path, TokenFormat::of(&path)?, info, false)?;
/// writer.push(&TokenSequence { file: "a.flac".into(), tokens: vec![7, 7, 2], ..TokenSequence::default() })?;
/// writer.finish()?;
/// assert!(std::fs::read_to_string(&path)?.starts_with(r#"{"file":"a.flac","units":[7,2],"durations":[2,1],"frames":3"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TokenWriter {
    info: OutputInfo,
    writer: Writer,
}

#[derive(Debug)]
enum Writer {
    Jsonl(jsonl::Writer),
    Km(km::Writer),
    Gslm(gslm::Writer),
    Textless(textless::Writer),
    Npy(npy::Writer),
    Parquet(Box<parquet::Writer>),
}

impl TokenWriter {
    /// Starts an output. Existing files need `force`.
    ///
    /// # Errors
    /// [`TokensError::Write`]; [`TokensError::Invalid`] for runs in a format that cannot hold them.
    pub fn create(path: &Path, format: TokenFormat, info: OutputInfo, force: bool) -> Result<Self> {
        if info.deduplicate && matches!(format, TokenFormat::Km | TokenFormat::Npy) {
            return Err(TokensError::Invalid(format!(
                "{} has a token for each frame, and without repetitions their times would be lost; leave --deduplicate out, or \
                 write jsonl or parquet",
                format.name()
            )));
        }
        let writer = match format {
            TokenFormat::Jsonl => Writer::Jsonl(jsonl::Writer::create(path, force)?),
            TokenFormat::Km => Writer::Km(km::Writer::create(path, &info, force)?),
            TokenFormat::Gslm => Writer::Gslm(gslm::Writer::create(path, force)?),
            TokenFormat::Textless => Writer::Textless(textless::Writer::create(path, force)?),
            TokenFormat::Npy => Writer::Npy(npy::Writer::create(path, force)?),
            TokenFormat::Parquet => Writer::Parquet(parquet::Writer::create(path, &info, force)?.into()),
        };
        Ok(TokenWriter { info, writer })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`TokensError::Write`]; [`TokensError::Name`] for a name that the format cannot hold; [`TokensError::Invalid`] for a
    /// token beyond the vocabulary.
    pub fn push(&mut self, sequence: &TokenSequence) -> Result<()> {
        let beyond = |token: &&u32| usize::try_from(**token).is_ok_and(|token| token >= self.info.k);
        if let Some(token) = sequence.tokens.iter().find(beyond) {
            return Err(TokensError::Invalid(format!(
                "{}: the token {token} is beyond the vocabulary of {}",
                mert_arch::printable_line(&sequence.file),
                self.info.k
            )));
        }
        match &mut self.writer {
            Writer::Jsonl(writer) => writer.push(&self.info, sequence),
            Writer::Km(writer) => writer.push(&self.info, sequence),
            Writer::Gslm(writer) => writer.push(&self.info, sequence),
            Writer::Textless(writer) => writer.push(&self.info, sequence),
            Writer::Npy(writer) => writer.push(&self.info, sequence),
            Writer::Parquet(writer) => writer.push(&self.info, sequence),
        }
    }

    /// Completes the output and renames it to its path.
    ///
    /// # Errors
    /// [`TokensError::Write`].
    pub fn finish(self) -> Result<()> {
        match self.writer {
            Writer::Jsonl(writer) => writer.finish(),
            Writer::Km(writer) => writer.finish(),
            Writer::Gslm(writer) => writer.finish(),
            Writer::Textless(writer) => writer.finish(),
            Writer::Npy(writer) => writer.finish(),
            Writer::Parquet(writer) => writer.finish(),
        }
    }
}
