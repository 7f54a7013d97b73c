//! HuBERT's labels (fairseq's `simple_kmeans`): a `.km` with a line of tokens for each file, a `.tsv` of the same name with the
//! files in that order, and `dict.km.txt`, which fairseq wants beside them.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::text_file::{OutputFile, check_name};
use super::{OutputInfo, TokenSequence};
use crate::Result;

#[derive(Debug)]
pub(super) struct Writer {
    labels: OutputFile,
    files: OutputFile,
    /// The dictionary, unless the same one is there.
    dictionary: Option<OutputFile>,
}

/// The list of the files of a `.km` or `.npy`.
pub(super) fn list_path(path: &Path) -> PathBuf {
    path.with_extension("tsv")
}

/// A `.tsv` of fairseq: the root of the paths, then a path and its samples in each line. A path from `/` stays itself.
pub(super) fn create_list(path: &Path, force: bool) -> Result<OutputFile> {
    let mut files = OutputFile::create(&list_path(path), force)?;
    files.write(|out| out.write_all(b".\n"))?;
    Ok(files)
}

/// Adds a file to a `.tsv`; unknown samples are those that the frames cover.
pub(super) fn list(files: &mut OutputFile, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
    let samples = sequence.samples.unwrap_or((sequence.tokens.len() as u64).saturating_mul(info.frame_hop as u64));
    files.write(|out| writeln!(out, "{}\t{samples}", sequence.file))
}

impl Writer {
    pub(super) fn create(path: &Path, info: &OutputInfo, force: bool) -> Result<Self> {
        let dictionary_path = path.with_file_name("dict.km.txt");
        let lines: String = (0..info.k).map(|token| format!("{token} 1\n")).collect();
        let is_there = std::fs::read(&dictionary_path).is_ok_and(|found| found == lines.as_bytes());
        let dictionary = match is_there {
            true => None,
            false => {
                let mut file = OutputFile::create(&dictionary_path, force)?;
                file.write(|out| out.write_all(lines.as_bytes()))?;
                Some(file)
            }
        };
        Ok(Writer { labels: OutputFile::create(path, force)?, files: create_list(path, force)?, dictionary })
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        check_name(&sequence.file, "km", '\t')?;
        list(&mut self.files, info, sequence)?;
        self.labels.line("", &sequence.tokens)
    }

    pub(super) fn finish(self) -> Result<()> {
        self.dictionary.map_or(Ok(()), OutputFile::commit)?;
        self.files.commit()?;
        self.labels.commit()
    }
}
