//! numpy: the tokens of all files in one `.npy` of i32, the frames of each file in a `.len`, and the files in a `.tsv`, as the
//! features of HuBERT's recipe are kept.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::km::{create_list, list};
use super::text_file::{OutputFile, check_name};
use super::{OutputInfo, TokenSequence};
use crate::{Result, npy};

/// The tokens' type: torch has no operations on unsigned integers of 32 bits.
const DTYPE: &str = "<i4";

#[derive(Debug)]
pub(super) struct Writer {
    tokens: OutputFile,
    lengths: OutputFile,
    files: OutputFile,
    frames: usize,
}

impl Writer {
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        let mut tokens = OutputFile::create(path, force)?;
        tokens.write(|out| out.write_all(&npy::header(DTYPE, &[0])))?;
        let lengths = OutputFile::create(&path.with_extension("len"), force)?;
        Ok(Writer { tokens, lengths, files: create_list(path, force)?, frames: 0 })
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        check_name(&sequence.file, "npy", '\t')?;
        list(&mut self.files, info, sequence)?;
        self.lengths.write(|out| writeln!(out, "{}", sequence.tokens.len()))?;
        self.frames += sequence.tokens.len();
        self.tokens.write(|out| sequence.tokens.iter().try_for_each(|token| out.write_all(&token.to_le_bytes())))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let frames = self.frames;
        // The header has room for the number that is known now.
        self.tokens.write(|out| {
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&npy::header(DTYPE, &[frames]))
        })?;
        self.lengths.commit()?;
        self.files.commit()?;
        self.tokens.commit()
    }
}
