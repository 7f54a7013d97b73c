//! The contract between the reader and the formats: the header of an open table, and the passing of its rows.

use std::fmt;
use std::ops::ControlFlow;

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
    /// Those of the first encoder; `None` where the format does not record them.
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
            model_sha256: Some(provenance.models_sha256()),
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
