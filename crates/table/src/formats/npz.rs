//! A numpy archive: the vectors, and columns with the positions of the rows.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use npyz::npz::{NpzArchive, NpzWriter};
use npyz::zip::write::FileOptions;
use npyz::zip::{CompressionMethod, DateTime};
use npyz::{AutoSerialize, DType, Deserialize, WriterBuilder};

use super::columns::{Columns, check_shape};
use super::npy;
use crate::checked_rows::Table;
use crate::read_rows::{Header, OnRow, Parts, ReadRows};
use crate::row::Position;
use crate::{Result, TableError};

type Npz<'a> = NpzWriter<BufWriter<&'a File>>;

/// Writes `embeddings`, and arrays of the same length that describe each row: `file` (an index into `files`), `window`,
/// `start`, `end`, and `frame` without pooling; `files`, `file_size` and `file_modified` of each file; then
/// `hidden_states`, `model_sha256` and `provenance` (JSON). For several encoders also `vectors` and `vector_dims`: the name
/// and the length of each vector of a row.
pub(crate) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut npz = NpzWriter::new(BufWriter::new(file));
    let shape = table.shape();
    let array = npz.array("embeddings", options())?.default_dtype().shape(&shape).begin_nd()?;
    npy::write_vectors(table, array)?;
    column(&mut npz, "file", table, |position| position.file as i64)?;
    column(&mut npz, "window", table, |position| i64::from(position.window))?;
    if table.has_frames() {
        column(&mut npz, "frame", table, |position| position.frame.map_or(-1, i64::from))?;
    }
    column(&mut npz, "start", table, |position| position.start)?;
    column(&mut npz, "end", table, |position| position.end)?;
    let provenance = table.provenance;
    let layers: Vec<i64> = provenance.hidden_states.iter().map(|&layer| layer as i64).collect();
    numbers(&mut npz, "hidden_states", &layers)?;
    strings(&mut npz, "files", &[table.files.len() as u64], &table.names())?;
    let (sizes, modified) = table.versions();
    numbers(&mut npz, "file_size", &sizes)?;
    numbers(&mut npz, "file_modified", &modified)?;
    if provenance.hybrid.is_some() {
        let columns: Vec<String> = provenance.vectors().map(|vector| vector.column()).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        strings(&mut npz, "vectors", &[columns.len() as u64], &columns)?;
        let dims: Vec<i64> = provenance.vectors().map(|vector| vector.dim as i64).collect();
        numbers(&mut npz, "vector_dims", &dims)?;
    }
    strings(&mut npz, "model_sha256", &[], &[&provenance.models_sha256()])?;
    strings(&mut npz, "provenance", &[], &[&serde_json::to_string(provenance)?])?;
    npz.zip_writer().finish()?.flush()
}

/// The options of an entry: stored as `numpy.savez` does, since vectors do not compress; larger than 4 GB if need be;
/// with a fixed time, so that the same rows give the same bytes.
fn options() -> FileOptions {
    let options = FileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    options.last_modified_time(DateTime::default())
}

/// Writes an array with a number for each row.
fn column<T: AutoSerialize>(
    npz: &mut Npz<'_>,
    name: &str,
    table: &mut Table<'_>,
    number: impl Fn(&Position) -> T,
) -> io::Result<()> {
    let mut array = npz.array(name, options())?.default_dtype().shape(&[table.rows()]).begin_nd()?;
    table.for_each_position(|_, position| array.push(&number(position)))?;
    array.finish()
}

fn numbers<T: AutoSerialize + Copy>(npz: &mut Npz<'_>, name: &str, values: &[T]) -> io::Result<()> {
    let mut array = npz.array(name, options())?.default_dtype().shape(&[values.len() as u64]).begin_nd()?;
    array.extend(values.iter().copied())?;
    array.finish()
}

/// Writes an array of numpy's own strings, all as wide as the longest.
fn strings(npz: &mut Npz<'_>, name: &str, shape: &[u64], values: &[&str]) -> io::Result<()> {
    let width = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).max(1);
    let dtype = DType::Plain(format!("<U{width}").parse().map_err(io::Error::other)?);
    let mut array = npz.array(name, options())?.dtype(dtype).shape(shape).begin_nd()?;
    values.iter().try_for_each(|value| array.push(*value))?;
    array.finish()
}

pub(crate) fn open(path: &Path) -> Result<(Header, Rows)> {
    let mut npz = NpzArchive::new(BufReader::new(File::open(path)?))?;
    let provenance: Vec<String> = read_column(&mut npz, "provenance")?;
    let header = Header::from_provenance(provenance.first().map_or("", String::as_str))?;
    let width = header.width;
    Ok((header, Rows { npz, width }))
}

/// The rows of an open archive.
pub(crate) struct Rows {
    npz: NpzArchive<BufReader<File>>,
    width: usize,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("width", &self.width).finish_non_exhaustive()
    }
}

impl ReadRows for Rows {
    fn read(&mut self, parts: Parts, on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>> {
        let Rows { npz, width } = self;
        let has_frames = npz.array_names().any(|name| name == "frame");
        let columns = Columns {
            files: read_column(npz, "files")?,
            sizes: read_column(npz, "file_size")?,
            modified: read_column(npz, "file_modified")?,
            file: read_column(npz, "file")?,
            window: read_column(npz, "window")?,
            frame: has_frames.then(|| read_column(npz, "frame")).transpose()?,
            start: read_column(npz, "start")?,
            end: read_column(npz, "end")?,
        };
        columns.check()?;
        if parts == Parts::Positions {
            return columns.for_each(*width, None, on_row);
        }
        let vectors = npz.by_name("embeddings")?.ok_or_else(|| TableError::missing("embeddings"))?;
        check_shape(vectors.shape(), columns.file.len() as u64, *width)?;
        let values = vectors.data::<f32>();
        let mut values = values.map_err(|error| TableError::wrong_type("embeddings", error.to_string()))?;
        columns.for_each(*width, Some(&mut values), on_row)
    }
}

fn read_column<T: Deserialize>(npz: &mut NpzArchive<BufReader<File>>, name: &str) -> Result<Vec<T>> {
    let array = npz.by_name(name)?.ok_or_else(|| TableError::missing(name))?;
    Ok(array.into_vec()?)
}
