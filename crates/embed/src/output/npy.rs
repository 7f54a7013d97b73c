use std::fs::File;
use std::io::{self, BufWriter, Write};

use npyz::{NpyWriter, WriteOptions, WriterBuilder};

use super::Table;

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
