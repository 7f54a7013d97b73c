//! Reading a table, whatever its format.

use std::ops::ControlFlow;
use std::path::Path;

use crate::format::Format;
use crate::formats::{jsonl, npy, npz, parquet, safetensors};
use crate::read_rows::{Header, Parts, ReadRows, Settings};
use crate::row::Row;
use crate::{Result, TableError};

/// A table that is read. The vectors of one row at a time are in memory; of `.npz` and `.safetensors` also the columns
/// that describe rows.
#[derive(Debug)]
pub struct TableReader {
    header: Header,
    rows: Box<dyn ReadRows>,
}

impl TableReader {
    /// Opens a table in the format that its extension says, and reads its settings.
    ///
    /// # Errors
    /// [`TableError`] for another extension, or a file that is not a table in this format.
    pub fn open(path: &Path) -> Result<Self> {
        let (header, rows): (Header, Box<dyn ReadRows>) = match Format::of(path)? {
            Format::Npy => boxed(npy::open(path)?),
            Format::Npz => boxed(npz::open(path)?),
            Format::Safetensors => boxed(safetensors::open(path)?),
            Format::Parquet => boxed(parquet::open(path)?),
            Format::Jsonl => boxed(jsonl::open(path)?),
        };
        Ok(TableReader { header, rows })
    }

    /// The settings that made the table; `None` for a `.npy` or `.jsonl` without rows.
    pub fn settings(&self) -> Option<&Settings> {
        self.header.settings.as_ref()
    }

    /// SHA-256 of the model's file, in hexadecimal, of several models with `+` between them; `None` for a `.npy` or `.jsonl` without rows.
    pub fn model_sha256(&self) -> Option<&str> {
        self.header.model_sha256.as_deref()
    }

    /// The hidden states of the first encoder, ascending; `None` for a `.npy`, which does not record them, and for a `.jsonl` without rows.
    pub fn hidden_states(&self) -> Option<&[usize]> {
        self.header.hidden_states.as_deref()
    }

    /// Values per row, of all vectors together; 0 for a `.jsonl` without rows.
    pub fn values_per_row(&self) -> usize {
        self.header.width
    }

    /// Passes each row to `on_row`, in order.
    ///
    /// # Errors
    /// [`TableError`] for an invalid table, and the errors of `on_row`, which end the reading.
    pub fn for_each_row<E: From<TableError>>(&mut self, on_row: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        self.read(Parts::Rows, on_row)
    }

    /// Passes each row without its vectors to `on_row`, in order.
    ///
    /// # Errors
    /// Those of [`TableReader::for_each_row`].
    pub fn for_each_position<E: From<TableError>>(
        &mut self,
        on_row: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(Parts::Positions, on_row)
    }

    fn read<E: From<TableError>>(
        &mut self,
        parts: Parts,
        mut on_row: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut result = Ok(());
        let _ = self.rows.read(parts, &mut |row| match on_row(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                result = Err(error);
                ControlFlow::Break(())
            }
        })?;
        result
    }
}

fn boxed<R: ReadRows + 'static>((header, rows): (Header, R)) -> (Header, Box<dyn ReadRows>) {
    (header, Box::new(rows))
}
