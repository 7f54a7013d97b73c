//! Reading a table, whatever its format.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use crate::format::Format;
use crate::formats::{jsonl, npy, npz, parquet, safetensors};
use crate::provenance::Provenance;
use crate::row::Row;
use crate::{Result, TableError};

/// The settings that a table records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// All settings (`.npz`, `.safetensors`, `.parquet`).
    Full(Box<Provenance>),
    /// [`Provenance::digest`] of the settings (`.npy`, `.jsonl`).
    Digest(String),
}

/// Whether vectors are read, or only the positions of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Positions,
    Rows,
}

/// The settings and sizes that all rows of a table have in common.
#[derive(Debug, Default)]
pub(crate) struct Header {
    /// `None` for a table of lines without any.
    pub(crate) settings: Option<Settings>,
    pub(crate) model_sha256: Option<String>,
    /// `None` where the format does not record them.
    pub(crate) hidden_states: Option<Vec<usize>>,
    /// Values per row.
    pub(crate) width: usize,
}

impl Header {
    /// The header of a table that records its whole provenance, as JSON.
    pub(crate) fn from_provenance(json: &str) -> Result<Self> {
        serde_json::from_str(json).map(|provenance: Provenance| provenance.into()).map_err(TableError::Provenance)
    }
}

impl From<Provenance> for Header {
    fn from(provenance: Provenance) -> Self {
        Header {
            model_sha256: Some(provenance.model_sha256.clone()),
            hidden_states: Some(provenance.hidden_states.clone()),
            width: provenance.values_per_row(),
            settings: Some(Settings::Full(Box::new(provenance))),
        }
    }
}

/// The receiver of rows in order, which may end the reading.
pub(crate) type OnRow<'a> = dyn FnMut(Row<'_>) -> ControlFlow<()> + 'a;

/// The rows of an open table in one format.
pub(crate) trait ReadRows: fmt::Debug + Send {
    /// Passes each row to `on_row`, until it breaks.
    fn read(&mut self, parts: Parts, on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>>;
}

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

    /// SHA-256 of the model's file, in hexadecimal; `None` for a `.npy` or `.jsonl` without rows.
    pub fn model_sha256(&self) -> Option<&str> {
        self.header.model_sha256.as_deref()
    }

    /// The hidden states, ascending; `None` for a `.npy`, which does not record them, and for a `.jsonl` without rows.
    pub fn hidden_states(&self) -> Option<&[usize]> {
        self.header.hidden_states.as_deref()
    }

    /// Values per row, of all hidden states together; 0 for a `.jsonl` without rows.
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
