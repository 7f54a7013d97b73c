//! JSON lines: an object for each row, with its vectors, or beside a `.npy` without them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::columns::{file_version, next_vector};
use super::ordered::Ordered;
use crate::checked_rows::Table;
use crate::read_rows::{Header, OnRow, Parts, ReadRows, Settings};
use crate::row::{Position, Row, SourceFile};
use crate::{Result, TableError};

/// The line of a row.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_modified: Option<i64>,
    window: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u32>,
    start: f64,
    end: f64,
    model_sha256: &'a str,
    /// [`crate::Provenance::digest`].
    settings: &'a str,
    /// The vectors by their hidden state, or among several encoders by `mert_6`.
    #[serde(skip_serializing_if = "Ordered::is_empty")]
    hidden_states: Ordered<&'a [f32]>,
}

/// A line that is read. Numbers are parsed from their digits, because serde_json rounds some of them differently.
#[derive(Deserialize)]
struct StoredLine<'a> {
    file: String,
    file_size: Option<u64>,
    file_modified: Option<i64>,
    window: u32,
    frame: Option<u32>,
    #[serde(borrow)]
    start: &'a RawValue,
    #[serde(borrow)]
    end: &'a RawValue,
    model_sha256: String,
    settings: String,
    #[serde(borrow, default)]
    hidden_states: Ordered<&'a RawValue>,
}

/// Writes each row with its vectors.
pub(crate) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let provenance = table.provenance;
    let (models_sha256, digest) = (provenance.models_sha256(), provenance.digest());
    table.for_each_row(|file, position, values| {
        let mut rest = values;
        let vectors = provenance.vectors().map(|vector| {
            let (values, after) = rest.split_at(vector.dim);
            rest = after;
            (vector.key(), values)
        });
        write_line(&mut out, &line(file, position, &models_sha256, &digest, Ordered(vectors.collect())))
    })?;
    out.flush()
}

/// Writes each row without its vectors.
pub(crate) fn write_positions(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let (models_sha256, digest) = (table.provenance.models_sha256(), table.provenance.digest());
    table.for_each_position(|file, position| {
        write_line(&mut out, &line(file, position, &models_sha256, &digest, Ordered::default()))
    })?;
    out.flush()
}

fn line<'a>(
    file: &'a SourceFile,
    position: &Position,
    model_sha256: &'a str,
    settings: &'a str,
    hidden_states: Ordered<&'a [f32]>,
) -> Line<'a> {
    let &Position { window, frame, start, end, .. } = position;
    let (file_size, file_modified) = file.version.map(|version| (version.size, version.modified)).unzip();
    Line {
        file: &file.name,
        file_size,
        file_modified,
        window,
        frame,
        start,
        end,
        model_sha256,
        settings,
        hidden_states,
    }
}

fn write_line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

pub(crate) fn open(path: &Path) -> Result<(Header, Lines)> {
    open_lines(path, true)
}

/// Opens the lines beside a `.npy`, which have no vectors.
pub(super) fn open_positions(path: &Path) -> Result<(Header, Lines)> {
    open_lines(path, false)
}

/// Opens a file of lines. The first line says what all of them have in common.
fn open_lines(path: &Path, has_vectors: bool) -> Result<(Header, Lines)> {
    let mut lines = Lines { file: File::open(path)?, keys: Vec::new(), width: 0, settings: String::new() };
    let mut header = Header::default();
    let (mut values, mut lines_keys) = (Vec::new(), Vec::new());
    let _ = lines.for_each_line(|number, line| {
        if has_vectors {
            line.hidden_states.values().try_for_each(|state| numbers(number, state, &mut values))?;
            lines_keys = line.hidden_states.0.into_iter().map(|(key, _)| key).collect();
        }
        header.settings = Some(Settings::Digest(line.settings));
        header.model_sha256 = Some(line.model_sha256);
        Ok(ControlFlow::Break(()))
    })?;
    header.width = values.len();
    lines.width = header.width;
    if !lines_keys.is_empty() {
        header.hidden_states = Some(hidden_states_of_first(&lines_keys)?);
    }
    lines.keys = lines_keys;
    if let Some(Settings::Digest(digest)) = &header.settings {
        lines.settings.clone_from(digest);
    }
    Ok((header, lines))
}

/// The hidden states of the first encoder, by the keys of all vectors: `6`, or `mert_6` among several encoders.
fn hidden_states_of_first(keys: &[String]) -> Result<Vec<usize>> {
    fn split(key: &str) -> (&str, &str) {
        key.rsplit_once('_').unwrap_or(("", key))
    }
    let first = keys.first().map_or("", |key| split(key).0);
    let parse = |key: &String| {
        let (encoder, layer) = split(key);
        let layer = layer.parse().map_err(|_| TableError::line(1, format!("`{key}` is not a hidden state")));
        (encoder == first).then_some(layer)
    };
    keys.iter().filter_map(parse).collect()
}

/// The lines of an open file.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    /// The keys of the vectors, number of values and settings of the first line, which every line must have.
    keys: Vec<String>,
    width: usize,
    settings: String,
}

impl ReadRows for Lines {
    fn read(&mut self, parts: Parts, on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>> {
        let mut values = Vec::new();
        let (width, keys) = (self.width, self.keys.clone());
        self.for_each_row(|number, line| {
            values.clear();
            if parts == Parts::Rows {
                if !line.hidden_states.0.iter().map(|(key, _)| key).eq(&keys) {
                    return Err(TableError::line(number, format!("expected the hidden states {}", keys.join(", "))));
                }
                line.hidden_states.values().try_for_each(|state| numbers(number, state, &mut values))?;
                if values.len() != width {
                    let reason = format!("it has {} values: expected {width}", values.len());
                    return Err(TableError::line(number, reason));
                }
            }
            Ok(on_row(line.row(number, &values)?))
        })
    }
}

impl Lines {
    /// Passes each row to `on_row`, with the next `width` of the `values` of the array beside the lines, if any.
    pub(super) fn read_beside(
        &mut self,
        width: usize,
        mut values: Option<&mut dyn Iterator<Item = io::Result<f32>>>,
        on_row: &mut OnRow<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut vector = Vec::new();
        self.for_each_row(|number, line| {
            if let Some(values) = &mut values {
                next_vector(*values, width, &mut vector)?;
                if vector.len() < width {
                    return Err(TableError::line(number, "its vectors are missing in the array"));
                }
            }
            Ok(on_row(line.row(number, &vector)?))
        })
    }

    /// Passes each line with its number to `on_line`, and checks that all have the same settings.
    fn for_each_row(
        &mut self,
        mut on_line: impl FnMut(usize, StoredLine<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let settings = self.settings.clone();
        self.for_each_line(|number, line| {
            if line.settings != settings {
                return Err(TableError::line(number, "its settings are not those of the first line"));
            }
            on_line(number, line)
        })
    }

    fn for_each_line(
        &mut self,
        mut on_line: impl FnMut(usize, StoredLine<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        self.file.rewind()?;
        let mut reader = BufReader::new(&self.file);
        let mut text = String::new();
        for number in 1.. {
            text.clear();
            if reader.read_line(&mut text)? == 0 {
                break;
            }
            if text.trim().is_empty() {
                continue;
            }
            let line = serde_json::from_str(&text).map_err(|error| TableError::line(number, error))?;
            if on_line(number, line)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl StoredLine<'_> {
    fn row<'a>(&'a self, number: usize, values: &'a [f32]) -> Result<Row<'a>> {
        let seconds = |value: &RawValue| {
            let text = value.get();
            text.parse().map_err(|_| TableError::line(number, format!("expected a number of seconds, found {text}")))
        };
        let version = self.file_size.zip(self.file_modified);
        Ok(Row {
            file: &self.file,
            version: version.and_then(|(size, modified)| file_version(i64::try_from(size).ok()?, modified)),
            window: self.window,
            frame: self.frame,
            start: seconds(self.start)?,
            end: seconds(self.end)?,
            values,
        })
    }
}

/// Appends the numbers of a JSON array, each rounded once from its decimal digits.
fn numbers(line: usize, array: &RawValue, values: &mut Vec<f32>) -> Result<()> {
    let text = array.get().trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.ok_or_else(|| TableError::line(line, "a hidden state is not a list of numbers"))?;
    for number in inner.split(',') {
        let value = number.trim().parse();
        values.push(value.map_err(|_| TableError::line(line, format!("`{number}` is not a number")))?);
    }
    Ok(())
}
