//! The inputs of pictures: files of events, tokens of frames, vectors, and oracles, recognised by their content.

use std::path::Path;

use anyhow::{Context, bail};
use mert_events::file::EventsFile;
use mert_oracle::OracleFile;
use mert_plots::SourceSpan;
use mert_table::printable_path;
use mert_tokens::output::{ReadTokens, read_tokens};
use serde::Deserialize;

use crate::file_kind::{FileKind, read_bytes, read_text};
use crate::oracle::open_oracle;

/// A file that a picture can be drawn of.
pub(super) enum Input {
    Events(EventsFile),
    Tokens(ReadTokens),
    Oracle(Box<OracleFile>),
}

/// The fields of a line of `mert-tokens encode` beside its tokens.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct LineInfo {
    pub(super) frame_hop: Option<u32>,
    pub(super) sample_rate: Option<u32>,
    pub(super) k: Option<u32>,
}

/// Reads a file.
///
/// # Errors
/// Those of the formats.
pub(super) fn read(path: &Path) -> anyhow::Result<Input> {
    match FileKind::of(path) {
        Some(FileKind::Events) => {
            Ok(Input::Events(EventsFile::read(&read_text(path)?).with_context(|| printable_path(path))?))
        }
        Some(FileKind::Oracle) => Ok(Input::Oracle(Box::new(open_oracle(path)?))),
        Some(FileKind::EncodedTokens) | None => Ok(Input::Tokens(read_tokens(path)?)),
        Some(other) => bail!("{} is {other}, expected events, tokens, vectors or an oracle", printable_path(path)),
    }
}

/// The fields of the lines of a file of tokens, if they are JSON.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn line_infos(path: &Path) -> anyhow::Result<Vec<LineInfo>> {
    let bytes = read_bytes(path)?;
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    Ok(lines.map(|line| serde_json::from_slice(line).unwrap_or_default()).collect())
}

/// The recordings of an oracle.
pub(super) fn spans(oracle: &OracleFile) -> Vec<SourceSpan> {
    let span =
        |source: &mert_oracle::Source| SourceSpan { name: base_name(&source.name).into(), events: source.events };
    oracle.sources().iter().map(span).collect()
}

/// The last part of a path, on any system.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()).unwrap_or(path)
}
