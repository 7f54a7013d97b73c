//! The vectors of a catalogue: one matrix for each part, addressed as one.

mod checked;
mod compressed;
mod derived;
mod derived_file;
mod half;
mod matrix;
mod statistics;

use std::sync::Arc;

pub(crate) use checked::{checksum, is_intact_file, read_checked_json, write_checked_json};
pub(crate) use compressed::{About, Compressed};
pub(crate) use derived::{Derived, DerivedCache, DerivedRows, Halves};
pub(crate) use derived_file::DerivedFile;
pub(crate) use half::HalfMatrix;
pub(crate) use matrix::REBUILD;
pub use matrix::{Matrix, write_matrix};
pub(crate) use statistics::{MAX_COMPONENTS, mean, principal_components, sample};

/// The rows that a search compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// A row for each track: the mean of its segments.
    Tracks,
    /// A row for each segment: a window of a track.
    Segments,
}

impl Level {
    /// The name in file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Tracks => "tracks",
            Level::Segments => "segments",
        }
    }
}

/// The vectors of one hidden state for all rows of a level, those of removed tracks included.
#[derive(Debug, Clone)]
pub struct Vectors {
    parts: Vec<Arc<Matrix>>,
    /// The first row of each part, and the number of rows of all.
    starts: Vec<usize>,
    dim: usize,
}

impl Vectors {
    /// The rows of `parts`, one after the other, each of `dim` values.
    pub fn new(parts: Vec<Arc<Matrix>>, dim: usize) -> Self {
        let mut starts = vec![0];
        starts.extend(parts.iter().scan(0, |rows, part| {
            *rows += part.rows();
            Some(*rows)
        }));
        Vectors { parts, starts, dim }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The values in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The values of a row, of which there are [`Vectors::dim`].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        let part = self.starts.partition_point(|&start| start <= row) - 1;
        self.parts[part].row(row - self.starts[part])
    }

    /// The parts: their first rows, and their matrices.
    pub fn parts(&self) -> impl Iterator<Item = (usize, &Arc<Matrix>)> {
        self.starts.iter().copied().zip(&self.parts)
    }
}
