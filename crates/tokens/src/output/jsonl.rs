//! JSON lines: an object for each file, with all that is needed to place its tokens in time.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::text_file::OutputFile;
use super::{OutputInfo, TokenSequence, deduplicate};
use crate::Result;

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<&'a [u32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durations: Option<Vec<u32>>,
    frames: usize,
    frame_hop: usize,
    sample_rate: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u64>,
    k: usize,
    hidden_state: usize,
    model_sha256: &'a str,
    vocabulary_sha256: &'a str,
    generator: &'a str,
}

#[derive(Debug)]
pub(super) struct Writer(OutputFile);

impl Writer {
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        Ok(Writer(OutputFile::create(path, force)?))
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        let (units, durations) = match info.deduplicate {
            true => Some(deduplicate(&sequence.tokens)).unzip(),
            false => (None, None),
        };
        let line = Line {
            file: &sequence.file,
            tokens: (!info.deduplicate).then_some(&sequence.tokens[..]),
            units,
            durations,
            frames: sequence.tokens.len(),
            frame_hop: info.frame_hop,
            sample_rate: info.sample_rate,
            samples: sequence.samples,
            k: info.k,
            hidden_state: info.hidden_state,
            model_sha256: &info.model_sha256,
            vocabulary_sha256: &info.vocabulary_sha256,
            generator: &info.generator,
        };
        self.0.write(|out| {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        })
    }

    pub(super) fn finish(self) -> Result<()> {
        self.0.commit()
    }
}
