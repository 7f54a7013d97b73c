//! A numpy array of all vectors, with the places of its rows in a file of JSON lines.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};

use npyz::{NpyFile, NpyWriter, WriteOptions, WriterBuilder};

use super::{OnRow, Parts, StoredTable, Table, check_shape, invalid, jsonl, rows_file};

/// One array of all vectors.
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let shape = table.shape();
    let array = WriteOptions::new().default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
    write_vectors(table, array)?;
    out.flush()
}

/// Writes all vectors to an array that was begun.
pub(super) fn write_vectors<W: Write>(table: &mut Table<'_>, mut array: NpyWriter<f32, W>) -> io::Result<()> {
    table.for_each(|_, values| array.extend(values.iter().copied()))?;
    array.finish()
}

pub(super) fn read(table: &StoredTable<'_>, on_row: &mut OnRow<'_>) -> io::Result<()> {
    let rows = rows_file(table.path);
    if !rows.is_file() {
        return Err(invalid(format!("the file of its rows, {}, is missing", rows.display())));
    }
    let array = NpyFile::new(BufReader::new(File::open(table.path)?))?;
    let count = array.shape().first().copied().unwrap_or(0) as usize;
    check_shape(array.shape(), count, table.width())?;
    let mut values = array.data::<f32>().map_err(|error| invalid(error.to_string()))?;
    let values = (table.parts == Parts::Rows).then_some(&mut values as &mut dyn Iterator<Item = _>);
    // A crash between the writing of the two files leaves the rows of one run beside the array of another.
    let mut seen = 0;
    jsonl::read_places(&rows, table, values, &mut |row| {
        seen += 1;
        on_row(row)
    })?;
    if seen != count {
        return Err(invalid(format!("it has {count} rows, but {} lists {seen}", rows.display())));
    }
    Ok(())
}
