//! The rows that a table is written from: a trait for rows that lie anywhere, and rows in memory.

use std::io;

use crate::row::{Position, SourceFile};

/// Rows in order, which [`crate::write()`] goes over several times: formats with columns need all positions before all
/// vectors, and a count before both.
pub trait RowSource {
    /// The files that the rows are of.
    fn files(&self) -> Vec<SourceFile>;

    /// The number of rows.
    fn rows(&self) -> u64;

    /// Passes the position of each row to `on_position`.
    ///
    /// # Errors
    /// Those of `on_position`, and of the source.
    fn for_each_position(&mut self, on_position: &mut dyn FnMut(&Position) -> io::Result<()>) -> io::Result<()>;

    /// Passes each row to `on_row`: its position, and its vectors `(hidden states, dim)`.
    ///
    /// # Errors
    /// Those of `on_row`, and of the source.
    fn for_each_row(&mut self, on_row: &mut dyn FnMut(&Position, &[f32]) -> io::Result<()>) -> io::Result<()>;
}

/// Rows in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MemoryRows {
    /// The files that the rows are of.
    pub files: Vec<SourceFile>,
    positions: Vec<Position>,
    /// The values of all rows.
    values: Vec<f32>,
}

impl MemoryRows {
    /// Adds a row; `values` are its vectors `(hidden states, dim)`, as many as in every other row.
    pub fn push(&mut self, position: Position, values: &[f32]) {
        self.positions.push(position);
        self.values.extend_from_slice(values);
    }
}

impl RowSource for MemoryRows {
    fn files(&self) -> Vec<SourceFile> {
        self.files.clone()
    }

    fn rows(&self) -> u64 {
        self.positions.len() as u64
    }

    fn for_each_position(&mut self, on_position: &mut dyn FnMut(&Position) -> io::Result<()>) -> io::Result<()> {
        self.positions.iter().try_for_each(on_position)
    }

    fn for_each_row(&mut self, on_row: &mut dyn FnMut(&Position, &[f32]) -> io::Result<()>) -> io::Result<()> {
        let width = self.values.len() / self.positions.len().max(1);
        let vectors = (0..self.positions.len()).map(|row| &self.values[row * width..][..width]);
        self.positions.iter().zip(vectors).try_for_each(|(position, values)| on_row(position, values))
    }
}
