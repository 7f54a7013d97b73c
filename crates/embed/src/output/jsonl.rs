use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::{Place, Table};

/// A line for each row.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    model_sha256: &'a str,
    /// The vectors by their hidden state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hidden_states: BTreeMap<usize, &'a [f32]>,
}

/// Each row with its vectors.
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let settings = table.settings;
    table.for_each(|place, values| {
        let hidden_states = settings.hidden_states.iter().copied().zip(values.chunks_exact(settings.dim)).collect();
        write_line(&mut out, &Line { place, model_sha256: &settings.model_sha256, hidden_states })
    })?;
    out.flush()
}

/// Each row without its vectors.
pub(super) fn write_places(table: &Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let model_sha256 = &table.settings.model_sha256;
    table.each_place(|place| write_line(&mut out, &Line { place, model_sha256, hidden_states: BTreeMap::new() }))?;
    out.flush()
}

fn write_line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
