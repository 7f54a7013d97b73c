//! A numpy array of all vectors, with the positions of its rows in a file of JSON lines.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mert_fs::npy_reader;
use npyz::{NpyFile, NpyWriter, WriteOptions, WriterBuilder};

use super::columns::check_shape;
use super::jsonl;
use crate::checked_rows::Table;
use crate::format::rows_file;
use crate::read_rows::{Header, OnRow, Parts, ReadRows};
use crate::{Result, TableError};

/// Writes one array of all vectors.
pub(crate) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let shape = table.shape();
    let array = WriteOptions::new().default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
    write_vectors(table, array)?;
    out.flush()
}

/// Writes all vectors to an array that was begun.
pub(super) fn write_vectors<W: Write>(table: &mut Table<'_>, mut array: NpyWriter<f32, W>) -> io::Result<()> {
    table.for_each_row(|_, _, values| array.extend(values.iter().copied()))?;
    array.finish()
}

pub(crate) fn open(path: &Path) -> Result<(Header, Rows)> {
    let rows_path = rows_file(path);
    if !rows_path.is_file() {
        return Err(TableError::RowsFileMissing { path: rows_path });
    }
    let file = File::open(path)?;
    let array = NpyFile::new(npy_reader(BufReader::new(&file))?)?;
    let count = array.shape().first().copied().unwrap_or(0);
    let width = array.shape().iter().skip(1).try_fold(1, |width: u64, &extent| width.checked_mul(extent));
    let width = width.and_then(|width| usize::try_from(width).ok()).unwrap_or(0);
    check_shape(array.shape(), count, width)?;
    let (header, lines) = jsonl::open_positions(&rows_path)?;
    let header = Header { width, hidden_states: None, ..header };
    Ok((header, Rows { file, count, width, lines, rows_path }))
}

/// The rows of an open array.
#[derive(Debug)]
pub(crate) struct Rows {
    file: File,
    count: u64,
    width: usize,
    lines: jsonl::Lines,
    rows_path: PathBuf,
}

impl ReadRows for Rows {
    fn read(&mut self, parts: Parts, on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>> {
        self.file.rewind()?;
        let array = NpyFile::new(npy_reader(BufReader::new(&self.file))?)?;
        let mut values = array.data::<f32>().map_err(|error| TableError::wrong_type("the array", error.to_string()))?;
        let values = (parts == Parts::Rows).then_some(&mut values as &mut dyn Iterator<Item = _>);
        let mut listed = 0;
        let flow = self.lines.read_beside(self.width, values, &mut |row| {
            listed += 1;
            on_row(row)
        })?;
        if flow.is_continue() && listed != self.count {
            return Err(TableError::RowCount { rows: self.count, path: self.rows_path.clone(), listed });
        }
        Ok(flow)
    }
}
