//! Writing a table, whatever its format.

use std::path::Path;

use mert_fs::replace_file;

use crate::checked_rows::Table;
use crate::format::{Format, rows_file};
use crate::formats::{jsonl, npy, npz, parquet, safetensors};
use crate::provenance::Provenance;
use crate::source::RowSource;
use crate::{Result, TableError};

/// Writes a table to `path`, in the format that its extension says, and replaces an existing one. The file appears
/// whole or not at all. The same rows give the same bytes.
///
/// # Errors
/// [`TableError::Format`], [`TableError::NoValues`], [`TableError::Write`].
pub fn write(path: &Path, provenance: &Provenance, rows: &mut dyn RowSource) -> Result<()> {
    let format = Format::of(path)?;
    let mut table = table(provenance, rows)?;
    if format == Format::Npy {
        // Rows without an array do no harm after a crash; an array without its rows could not be used.
        replace_file(&rows_file(path), |file| jsonl::write_positions(&mut table, file))?;
    }
    replace_file(path, |file| match format {
        Format::Npy => npy::write(&mut table, file),
        Format::Npz => npz::write(&mut table, file),
        Format::Safetensors => safetensors::write(&mut table, file),
        Format::Parquet => parquet::write(&mut table, file),
        Format::Jsonl => jsonl::write(&mut table, file),
    })?;
    Ok(())
}

/// Writes the vectors of all rows to `path` as a `.npy` alone, without the file of its rows, and replaces an existing one.
/// The file appears whole or not at all.
///
/// # Errors
/// [`TableError::NoValues`], [`TableError::Write`].
pub fn write_array(path: &Path, provenance: &Provenance, rows: &mut dyn RowSource) -> Result<()> {
    let mut table = table(provenance, rows)?;
    Ok(replace_file(path, |file| npy::write(&mut table, file))?)
}

/// The table of `rows`, which have values.
fn table<'a>(provenance: &'a Provenance, rows: &'a mut dyn RowSource) -> Result<Table<'a>> {
    if provenance.values_per_row() == 0 {
        let hidden_states = provenance.hidden_states.len();
        return Err(TableError::NoValues { hidden_states, dim: provenance.dim });
    }
    Ok(Table::new(provenance, rows))
}
