//! The columns of a `.npz` or `.safetensors` that describe its rows, which are in memory while the vectors stream.

use std::io;
use std::ops::ControlFlow;

use crate::read_rows::OnRow;
use crate::row::{FileVersion, Row};
use crate::{Result, TableError};

/// The columns that describe the rows of a table.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The names of files, escaped.
    pub(super) files: Vec<String>,
    /// Sizes of the files in bytes, -1 if unknown.
    pub(super) sizes: Vec<i64>,
    /// Times of the files in microseconds since 1970 (UTC).
    pub(super) modified: Vec<i64>,
    /// The index in `files` of each row's file.
    pub(super) file: Vec<i64>,
    pub(super) window: Vec<i64>,
    pub(super) frame: Option<Vec<i64>>,
    pub(super) start: Vec<f64>,
    pub(super) end: Vec<f64>,
}

impl Columns {
    /// Checks that all columns have the same length.
    pub(super) fn check(&self) -> Result<()> {
        let rows = self.file.len();
        let frames = self.frame.as_ref().map_or(rows, Vec::len);
        if [self.window.len(), self.start.len(), self.end.len(), frames].iter().any(|&length| length != rows) {
            return Err(TableError::Lengths);
        }
        Ok(())
    }

    fn row<'a>(&'a self, index: usize, values: &'a [f32]) -> Result<Row<'a>> {
        let file = usize::try_from(self.file[index]).ok().filter(|&file| file < self.files.len());
        let file = file.ok_or_else(|| {
            TableError::row(index, format!("its file is number {} of {}", self.file[index], self.files.len()))
        })?;
        let number = |number: i64| {
            u32::try_from(number).map_err(|_| TableError::row(index, format!("invalid window or frame {number}")))
        };
        let version = self.sizes.get(file).zip(self.modified.get(file));
        Ok(Row {
            file: &self.files[file],
            version: version.and_then(|(&size, &modified)| file_version(size, modified)),
            window: number(self.window[index])?,
            frame: self.frame.as_ref().map(|frame| number(frame[index])).transpose()?,
            start: self.start[index],
            end: self.end[index],
            values,
        })
    }

    /// Passes each row to `on_row`, with the next `width` of `values`, if there are any.
    pub(super) fn for_each(
        &self,
        width: usize,
        mut values: Option<&mut dyn Iterator<Item = io::Result<f32>>>,
        on_row: &mut OnRow<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut vector = Vec::new();
        for index in 0..self.file.len() {
            if let Some(values) = &mut values {
                next_vector(*values, width, &mut vector)?;
                if vector.len() < width {
                    return Err(TableError::row(index, "its vectors are missing"));
                }
            }
            if on_row(self.row(index, &vector)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Replaces `vector` by the next `width` of `values`, or by fewer at their end.
pub(super) fn next_vector(
    values: &mut dyn Iterator<Item = io::Result<f32>>,
    width: usize,
    vector: &mut Vec<f32>,
) -> io::Result<()> {
    vector.clear();
    values.take(width).try_for_each(|value| value.map(|value| vector.push(value)))
}

/// The file version in stored numbers, if it is known.
pub(super) fn file_version(size: i64, modified: i64) -> Option<FileVersion> {
    u64::try_from(size).ok().map(|size| FileVersion { size, modified })
}

/// Checks that a shape is one of `rows` vectors of `width` values.
pub(super) fn check_shape(shape: &[u64], rows: u64, width: usize) -> Result<()> {
    let found = shape.iter().skip(1).try_fold(1, |product: u64, &extent| product.checked_mul(extent));
    if shape.first() != Some(&rows) || found != Some(width as u64) {
        return Err(TableError::Shape { found: shape.to_vec(), rows, width });
    }
    Ok(())
}
