//! Errors of writing and reading tables. Messages about a table that is read begin with "it", because the caller names
//! the file.

use std::path::PathBuf;

use mert_fs::FsError;
use parquet::errors::ParquetError;
use thiserror::Error;

use crate::file_name::printable_path;

/// The reason why a table was not written or cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TableError {
    /// The extension of the table's name is not that of a format.
    #[error(
        "unknown output format of {}: expected a name that ends in .npy, .npz, .safetensors, .parquet or .jsonl",
        printable_path(path)
    )]
    Format {
        /// The table.
        path: PathBuf,
    },
    /// The table could not be written.
    #[error(transparent)]
    Write(#[from] FsError),
    /// The table could not be read, or is not in the format that its name says.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// The Parquet file is invalid.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// The Parquet file is so invalid that its reader panicked.
    #[error("its Parquet structure is invalid")]
    InvalidParquet,
    /// JSON in the table is invalid.
    #[error("it has invalid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The recorded settings are not those of this version.
    #[error("its settings are those of another version of mert-embed ({0})")]
    Provenance(serde_json::Error),
    /// A row is of another model than the table's settings.
    #[error("it has a row of the model {found}, and its settings are those of the model {expected}")]
    OtherModel {
        /// The SHA-256 in the row.
        found: String,
        /// The SHA-256 in the settings.
        expected: String,
    },
    /// The settings leave no values for a row: a table needs a hidden state and a vector length above zero.
    #[error("a row would have no values: there are {hidden_states} hidden states of {dim} values")]
    NoValues {
        /// The number of hidden states.
        hidden_states: usize,
        /// The length of a vector.
        dim: usize,
    },
    /// An array, tensor, column or metadata entry is missing.
    #[error("it has no `{name}`")]
    Missing {
        /// The name of the array, tensor, column or metadata entry.
        name: String,
    },
    /// An array, tensor or column has another type.
    #[error("`{name}` is not {expected}")]
    Type {
        /// The name of the array, tensor or column.
        name: String,
        /// The expected type.
        expected: String,
    },
    /// The columns that describe rows have different lengths.
    #[error("its columns differ in length")]
    Lengths,
    /// The array of vectors has another shape.
    #[error("its vectors have the shape {found:?}: expected {rows} rows of {width} values")]
    Shape {
        /// The shape in the file.
        found: Vec<u64>,
        /// The number of rows.
        rows: u64,
        /// Values per row.
        width: usize,
    },
    /// A line of JSON is invalid.
    #[error("line {line}: {reason}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// The reason.
        reason: String,
    },
    /// A row is invalid.
    #[error("row {row}: {reason}")]
    Row {
        /// The number of the row, from 0.
        row: usize,
        /// The reason.
        reason: String,
    },
    /// The `.rows.jsonl` of a `.npy` does not exist.
    #[error("the file of its rows, {}, is missing", printable_path(path))]
    RowsFileMissing {
        /// The `.rows.jsonl`.
        path: PathBuf,
    },
    /// A `.npy` and its `.rows.jsonl` are from different runs: a crash can come between the writing of the two.
    #[error("it has {rows} rows, but {} lists {listed}", printable_path(path))]
    RowCount {
        /// The number of rows in the array.
        rows: u64,
        /// The `.rows.jsonl`.
        path: PathBuf,
        /// The number of its lines.
        listed: u64,
    },
}

impl TableError {
    pub(crate) fn missing(name: &str) -> Self {
        TableError::Missing { name: name.to_string() }
    }

    pub(crate) fn wrong_type(name: &str, expected: impl Into<String>) -> Self {
        TableError::Type { name: name.to_string(), expected: expected.into() }
    }

    pub(crate) fn line(line: usize, reason: impl ToString) -> Self {
        TableError::Line { line, reason: reason.to_string() }
    }

    pub(crate) fn row(row: usize, reason: impl Into<String>) -> Self {
        TableError::Row { row, reason: reason.into() }
    }
}
