//! JSON lines: an object per row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{OnRow, Parts, Place, StoredRow, StoredSettings, StoredTable, Table, invalid, stored_version};

/// A line for each row.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    model_sha256: &'a str,
    /// [`crate::Provenance::digest`].
    settings: &'a str,
    /// The vectors by their hidden state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hidden_states: BTreeMap<usize, &'a [f32]>,
}

/// A line in deserialized form.
#[derive(Deserialize)]
struct StoredLine<'a> {
    file: String,
    file_size: Option<u64>,
    file_modified: Option<i64>,
    window: u32,
    frame: Option<u32>,
    start: f64,
    end: f64,
    settings: String,
    #[serde(borrow, default)]
    hidden_states: BTreeMap<usize, &'a RawValue>,
}

/// Each row with its vectors.
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let settings = table.settings;
    let digest = settings.digest();
    table.for_each(|place, values| {
        let hidden_states = settings.hidden_states.iter().copied().zip(values.chunks_exact(settings.dim)).collect();
        write_line(&mut out, &Line { place, model_sha256: &settings.model_sha256, settings: &digest, hidden_states })
    })?;
    out.flush()
}

/// Each row without its vectors.
pub(super) fn write_places(table: &Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let (model_sha256, digest) = (&table.settings.model_sha256, table.settings.digest());
    table.each_place(|place| {
        write_line(&mut out, &Line { place, model_sha256, settings: &digest, hidden_states: BTreeMap::new() })
    })?;
    out.flush()
}

fn write_line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

pub(super) fn read(table: &StoredTable<'_>, on_row: &mut OnRow<'_>) -> io::Result<()> {
    let width = table.width();
    let mut values = Vec::with_capacity(width);
    each_line(table.path, table, &mut |line, row| {
        values.clear();
        if table.parts == Parts::Rows {
            row.hidden_states.values().try_for_each(|state| numbers(state, &mut values))?;
            if values.len() != width {
                return Err(invalid(format!("line {line} has {} values, expected {width}", values.len())));
            }
        }
        on_row(row.place(&values))
    })
}

/// Reads the lines beside the `.npy` file `table`, with its vectors from `values`, if any.
pub(super) fn read_places(
    path: &Path,
    table: &StoredTable<'_>,
    mut values: Option<&mut dyn Iterator<Item = io::Result<f32>>>,
    on_row: &mut OnRow<'_>,
) -> io::Result<()> {
    let width = table.width();
    let mut vector = Vec::with_capacity(width);
    each_line(path, table, &mut |line, row| {
        vector.clear();
        if let Some(values) = &mut values {
            for value in values.take(width) {
                vector.push(value?);
            }
            if vector.len() < width {
                return Err(invalid(format!("line {line} has no vector in the array")));
            }
        }
        on_row(row.place(&vector))
    })
}

fn each_line(
    path: &Path,
    table: &StoredTable<'_>,
    show: &mut dyn FnMut(usize, StoredLine<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut text, mut settings) = (String::new(), None);
    for number in 1.. {
        text.clear();
        if reader.read_line(&mut text)? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let line: StoredLine<'_> =
            serde_json::from_str(&text).map_err(|error| invalid(format!("line {number}: {error}")))?;
        if settings.as_ref() != Some(&line.settings) {
            (table.accept)(&StoredSettings::Digest(line.settings.clone()))?;
            settings = Some(line.settings.clone());
        }
        show(number, line)?;
    }
    Ok(())
}

impl StoredLine<'_> {
    fn place<'a>(&'a self, values: &'a [f32]) -> StoredRow<'a> {
        let version = self.file_size.zip(self.file_modified);
        StoredRow {
            file: &self.file,
            version: version.and_then(|(size, modified)| stored_version(i64::try_from(size).ok()?, modified)),
            window: self.window,
            frame: self.frame,
            start: self.start,
            end: self.end,
            values,
        }
    }
}

/// Appends the numbers of a JSON array, each rounded once from its decimal digits.
fn numbers(array: &RawValue, values: &mut Vec<f32>) -> io::Result<()> {
    let text = array.get().trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.ok_or_else(|| invalid("a hidden state is not a list of numbers"))?;
    for number in inner.split(',') {
        values.push(number.trim().parse().map_err(|_| invalid(format!("`{number}` is not a number")))?);
    }
    Ok(())
}
