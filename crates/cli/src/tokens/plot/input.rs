//! The inputs of pictures: files of events, tokens of frames, vectors, and oracles, recognised by their content.

use std::path::Path;

use anyhow::Context;
use mert_events::file::EventsFile;
use mert_oracle::OracleFile;
use mert_plots::SourceSpan;
use mert_table::printable_path;
use mert_tokens::output::{ReadTokens, read_tokens};
use serde::Deserialize;

/// A file that a picture can be drawn of.
pub(super) enum Input {
    Events(EventsFile),
    Tokens(ReadTokens),
    Oracle(Box<OracleFile>),
}

/// What a line of `mert-tokens encode` says beside its tokens.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct LineInfo {
    pub(super) frame_hop: Option<u32>,
    pub(super) sample_rate: Option<u32>,
    pub(super) k: Option<u32>,
}

/// The fields by which a JSON document is recognised.
#[derive(Deserialize)]
struct Format {
    format: Option<String>,
}

/// Reads a file.
///
/// # Errors
/// Those of the formats.
pub(super) fn read(path: &Path) -> anyhow::Result<Input> {
    let bytes = read_bytes(path)?;
    let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let format = serde_json::from_slice::<Format>(first).ok().and_then(|header| header.format);
    if format.as_deref() == Some(mert_events::file::FORMAT) {
        let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", printable_path(path)))?;
        return Ok(Input::Events(EventsFile::read(&text).with_context(|| printable_path(path))?));
    }
    if is_oracle(&bytes) {
        let oracle = OracleFile::from_bytes(&bytes).with_context(|| printable_path(path))?;
        return Ok(Input::Oracle(Box::new(oracle)));
    }
    Ok(Input::Tokens(read_tokens(path)?))
}

/// Reads an oracle.
///
/// # Errors
/// If the file is something else.
pub(super) fn read_oracle(path: &Path) -> anyhow::Result<OracleFile> {
    let bytes = read_bytes(path)?;
    OracleFile::from_bytes(&bytes)
        .with_context(|| format!("{}: expected an oracle of `mert-tokens oracle`", printable_path(path)))
}

/// What the lines of a file of tokens say, if they are JSON.
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

fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", printable_path(path)))
}

/// Whether the first bytes are those of an oracle, in either form.
fn is_oracle(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(256)];
    let name = mert_oracle::FORMAT.as_bytes();
    let binary = bytes.starts_with(mert_oracle::MAGIC);
    binary || (head.trim_ascii_start().starts_with(b"{") && head.windows(name.len()).any(|part| part == name))
}
