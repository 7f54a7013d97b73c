//! The five formats, and the files that a table consists of. The extension of a table's name selects its format.

use std::path::{Path, PathBuf};

use crate::{Result, TableError};

/// The format of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One numpy array; a `.rows.jsonl` beside it describes its rows.
    Npy,
    /// An archive of numpy arrays.
    Npz,
    /// Tensors, with file names and settings in the metadata.
    Safetensors,
    /// Columns, with Arrow's fixed-size lists of f32 for vectors.
    Parquet,
    /// A JSON object for each row.
    Jsonl,
}

impl Format {
    /// The format of a table with this name.
    ///
    /// # Errors
    /// [`TableError::Format`] for any other extension.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Format::Npy),
            Some("npz") => Ok(Format::Npz),
            Some("safetensors") => Ok(Format::Safetensors),
            Some("parquet") => Ok(Format::Parquet),
            Some("jsonl") => Ok(Format::Jsonl),
            _ => Err(TableError::Format { path: path.to_path_buf() }),
        }
    }
}

/// The file that describes the rows of a `.npy`.
pub fn rows_file(table: &Path) -> PathBuf {
    table.with_extension("rows.jsonl")
}

/// The files that the table at `path` consists of: `path`, and for a `.npy` its [`rows_file`].
///
/// # Errors
/// [`TableError::Format`] for any other extension.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![path.to_path_buf()];
    if Format::of(path)? == Format::Npy {
        files.push(rows_file(path));
    }
    Ok(files)
}
