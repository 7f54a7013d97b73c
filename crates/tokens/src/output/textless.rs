//! textlesslib's encoded utterances: `units`, `durations` (in frames, ones if runs are kept) and `dense`, a JSON object for
//! each file. Beginning and end of sequence, if a model wants them, are k and k + 1, as in textlesslib.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::text_file::OutputFile;
use super::{OutputInfo, TokenSequence, deduplicate};
use crate::Result;

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    units: &'a [u32],
    durations: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<Vec<&'a [f32]>>,
}

#[derive(Debug)]
pub(super) struct Writer(OutputFile);

impl Writer {
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        Ok(Writer(OutputFile::create(path, force)?))
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        let (units, durations) = match info.deduplicate {
            true => deduplicate(&sequence.tokens),
            false => (sequence.tokens.clone(), vec![1; sequence.tokens.len()]),
        };
        let dense = sequence.dense.as_ref().filter(|dense| dense.dim > 0);
        let dense = dense.map(|dense| dense.values.chunks_exact(dense.dim).collect());
        let line = Line { name: &sequence.file, units: &units, durations: &durations, dense };
        self.0.write(|out| {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        })
    }

    pub(super) fn finish(self) -> Result<()> {
        self.0.commit()
    }
}
