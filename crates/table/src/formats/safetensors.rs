//! Safetensors: the vectors, and columns with the positions of the rows; file names and settings are in the metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::columns::{Columns, check_shape};
use crate::checked_rows::Table;
use crate::read_rows::{Header, OnRow, Parts, ReadRows};
use crate::row::Position;
use crate::{Result, TableError};

/// Writes `embeddings` (F32), and of the same length `file` (an index into the metadata's `files`), `window`, `frame`
/// without pooling (I64), `start` and `end` (F64); `file_size` and `file_modified` (I64) of each of the `files`. For several
/// encoders the metadata's `vectors` has the name and the length of each vector of a row.
///
/// The header is written here because the crate's own writer needs all tensors in memory and writes the metadata in
/// hash order.
pub(crate) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let rows = table.rows();
    let (sizes, modified) = table.versions();
    // Tensors of 8-byte elements come first: all are aligned then, whatever the number of floats.
    let mut tensors: Vec<_> = ["start", "end"].map(|name| (name, "F64", 8, vec![rows])).into();
    tensors.extend(["file", "window"].map(|name| (name, "I64", 8, vec![rows])));
    tensors.extend(table.has_frames().then(|| ("frame", "I64", 8, vec![rows])));
    tensors.extend(["file_size", "file_modified"].map(|name| (name, "I64", 8, vec![sizes.len() as u64])));
    tensors.push(("embeddings", "F32", 4, table.shape()));

    let mut out = BufWriter::new(file);
    let header = header(table, &tensors)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut column =
        |bytes: fn(&Position) -> [u8; 8]| table.for_each_position(|_, position| out.write_all(&bytes(position)));
    column(|position| position.start.to_le_bytes())?;
    column(|position| position.end.to_le_bytes())?;
    column(|position| (position.file as i64).to_le_bytes())?;
    column(|position| i64::from(position.window).to_le_bytes())?;
    if table.has_frames() {
        let frame = |position: &Position| position.frame.map_or(-1, i64::from);
        table.for_each_position(|_, position| out.write_all(&frame(position).to_le_bytes()))?;
    }
    sizes.iter().chain(&modified).try_for_each(|number| out.write_all(&number.to_le_bytes()))?;
    table.for_each_row(|_, _, values| values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())))?;
    out.flush()
}

/// The JSON header, padded with blanks so that data starts at a multiple of 8.
fn header(table: &Table<'_>, tensors: &[(&str, &str, u64, Vec<u64>)]) -> io::Result<Vec<u8>> {
    let Value::Object(settings) = serde_json::to_value(table.provenance)? else { return Ok(Vec::new()) };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let mut metadata: BTreeMap<String, String> = settings.into_iter().map(|(key, value)| (key, text(value))).collect();
    metadata.insert("files".to_string(), serde_json::to_string(&table.names())?);
    metadata.insert("provenance".to_string(), serde_json::to_string(table.provenance)?);
    if table.provenance.hybrid.is_some() {
        metadata.insert("model_sha256".to_string(), table.provenance.models_sha256());
        let vectors: Vec<(String, usize)> = table.provenance.vectors().map(|v| (v.column(), v.dim)).collect();
        metadata.insert("vectors".to_string(), serde_json::to_string(&vectors)?);
    }
    let mut header = Map::from_iter([("__metadata__".to_string(), json!(metadata))]);
    let mut start = 0;
    for (name, dtype, size, shape) in tensors {
        let end = start + size * shape.iter().product::<u64>();
        header.insert((*name).to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
        start = end;
    }
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

pub(crate) fn open(path: &Path) -> Result<(Header, Rows)> {
    let file = Tensors::open(path)?;
    let metadata: BTreeMap<String, String> = serde_json::from_value(file.header["__metadata__"].clone())?;
    let text = |key: &str| metadata.get(key).ok_or_else(|| TableError::missing(key));
    let header = Header::from_provenance(text("provenance")?)?;
    let (files, width) = (serde_json::from_str(text("files")?)?, header.width);
    Ok((header, Rows { file, files, width }))
}

/// The rows of an open file.
#[derive(Debug)]
pub(crate) struct Rows {
    file: Tensors,
    files: Vec<String>,
    width: usize,
}

impl ReadRows for Rows {
    fn read(&mut self, parts: Parts, on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>> {
        let file = &mut self.file;
        let has_frames = file.header.get("frame").is_some();
        let columns = Columns {
            files: self.files.clone(),
            sizes: file.column("file_size", "I64", i64::from_le_bytes)?,
            modified: file.column("file_modified", "I64", i64::from_le_bytes)?,
            file: file.column("file", "I64", i64::from_le_bytes)?,
            window: file.column("window", "I64", i64::from_le_bytes)?,
            frame: has_frames.then(|| file.column("frame", "I64", i64::from_le_bytes)).transpose()?,
            start: file.column("start", "F64", f64::from_le_bytes)?,
            end: file.column("end", "F64", f64::from_le_bytes)?,
        };
        columns.check()?;
        if parts == Parts::Positions {
            return columns.for_each(self.width, None, on_row);
        }
        let shape = file.tensor("embeddings", "F32", 4)?.shape;
        check_shape(&shape, columns.file.len() as u64, self.width)?;
        let mut values = std::iter::repeat_with(|| {
            let mut bytes = [0; 4];
            file.reader.read_exact(&mut bytes).map(|()| f32::from_le_bytes(bytes))
        });
        columns.for_each(self.width, Some(&mut values), on_row)
    }
}

/// A tensor's entry in the header.
#[derive(Deserialize)]
struct TensorInfo {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// An open file with its parsed header.
#[derive(Debug)]
struct Tensors {
    reader: BufReader<File>,
    header: Value,
    /// Offset of the data in the file, in bytes.
    data: u64,
    /// Length of the data in bytes.
    length: u64,
}

impl Tensors {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let data = u64::from_le_bytes(length).checked_add(8).filter(|&data| data <= bytes);
        let data = data.ok_or_else(|| TableError::wrong_type("header", "shorter than the file"))?;
        let mut header = Vec::new();
        (&mut reader).take(data - 8).read_to_end(&mut header)?;
        Ok(Tensors { reader, header: serde_json::from_slice(&header)?, data, length: bytes - data })
    }

    /// Seeks to the first byte of a tensor and returns its entry.
    fn tensor(&mut self, name: &str, dtype: &str, size: u64) -> Result<TensorInfo> {
        let tensor = self.header.get(name).ok_or_else(|| TableError::missing(name))?;
        let tensor: TensorInfo = serde_json::from_value(tensor.clone())?;
        let (start, end) = tensor.data_offsets;
        let bytes = tensor.shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent));
        if tensor.dtype != dtype || end > self.length || end.checked_sub(start) != bytes {
            return Err(TableError::wrong_type(name, format!("a tensor of {dtype} that lies within the file")));
        }
        self.reader.seek(SeekFrom::Start(self.data + start))?;
        Ok(tensor)
    }

    fn column<T>(&mut self, name: &str, dtype: &str, from_bytes: impl Fn([u8; 8]) -> T) -> Result<Vec<T>> {
        let (start, end) = self.tensor(name, dtype, 8)?.data_offsets;
        let mut bytes = Vec::new();
        (&mut self.reader).take(end - start).read_to_end(&mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|&value| from_bytes(value)).collect())
    }
}
