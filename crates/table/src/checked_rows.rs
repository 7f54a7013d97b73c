//! The table that a format writes: the rows of a source, checked against the provenance while they stream.

use std::io;

use crate::provenance::Provenance;
use crate::row::{Position, SourceFile};
use crate::source::RowSource;

/// A table that is being written.
pub(crate) struct Table<'a> {
    pub(crate) provenance: &'a Provenance,
    pub(crate) files: Vec<SourceFile>,
    source: &'a mut dyn RowSource,
}

impl<'a> Table<'a> {
    /// The table of the rows of `source`.
    pub(crate) fn new(provenance: &'a Provenance, source: &'a mut dyn RowSource) -> Self {
        Table { provenance, files: source.files(), source }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.source.rows()
    }

    /// The shape of all vectors: `(rows, dim)` for one hidden state, `(rows, hidden states, dim)` for several; for several
    /// encoders, whose vectors may differ in length, `(rows, values)`.
    pub(crate) fn shape(&self) -> Vec<u64> {
        if self.provenance.hybrid.is_some() {
            return vec![self.rows(), self.provenance.values_per_row() as u64];
        }
        let (layers, dim) = (self.provenance.hidden_states.len() as u64, self.provenance.dim as u64);
        if layers == 1 { vec![self.rows(), dim] } else { vec![self.rows(), layers, dim] }
    }

    /// Whether rows are frames.
    pub(crate) fn has_frames(&self) -> bool {
        self.provenance.pool.has_frames()
    }

    /// The names of the files, escaped.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// Sizes in bytes and times in microseconds since 1970 of the files; -1 and `i64::MIN` if unknown.
    pub(crate) fn versions(&self) -> (Vec<i64>, Vec<i64>) {
        let numbers =
            |file: &SourceFile| file.version.map_or((-1, i64::MIN), |version| (version.size as i64, version.modified));
        self.files.iter().map(numbers).unzip()
    }

    /// Passes each row's file and position to `on_position`.
    pub(crate) fn for_each_position(
        &mut self,
        mut on_position: impl FnMut(&SourceFile, &Position) -> io::Result<()>,
    ) -> io::Result<()> {
        let (rows, has_frames) = (self.rows(), self.has_frames());
        let Table { files, source, .. } = self;
        let mut count = 0;
        source.for_each_position(&mut |position| {
            count += 1;
            on_position(check(files, has_frames, position)?, position)
        })?;
        check_count(count, rows)
    }

    /// Passes each row's file, position and vectors, one after the other, to `on_row`.
    pub(crate) fn for_each_row(
        &mut self,
        mut on_row: impl FnMut(&SourceFile, &Position, &[f32]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (rows, has_frames, width) = (self.rows(), self.has_frames(), self.provenance.values_per_row());
        let Table { files, source, .. } = self;
        let mut count = 0;
        source.for_each_row(&mut |position, values| {
            count += 1;
            if values.len() != width {
                return Err(invalid(format!("a row has {} values: expected {width}", values.len())));
            }
            on_row(check(files, has_frames, position)?, position, values)
        })?;
        check_count(count, rows)
    }
}

/// Checks a position and returns its file.
fn check<'a>(files: &'a [SourceFile], has_frames: bool, position: &Position) -> io::Result<&'a SourceFile> {
    if position.frame.is_some() != has_frames {
        return Err(invalid("rows have frames exactly if the pooling is none".to_string()));
    }
    let file = files.get(position.file);
    file.ok_or_else(|| invalid(format!("a row is of file {} of {}", position.file, files.len())))
}

fn check_count(count: u64, rows: u64) -> io::Result<()> {
    if count == rows { Ok(()) } else { Err(invalid(format!("there are {count} rows: expected {rows}"))) }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
