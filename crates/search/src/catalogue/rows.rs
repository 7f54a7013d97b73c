//! The segments in `rows.parquet`, read track by track, and several such tables written as one.

use std::io;
use std::path::{Path, PathBuf};

use mert_table::{FileVersion, Position, Provenance, RowSource, Settings, SourceFile, TableError, TableReader};

use crate::{Result, SearchError};

/// The rows of a file that follow each other in a table.
#[derive(Debug, Default)]
pub(super) struct TrackRows {
    /// The file's escaped path.
    pub(super) file: String,
    pub(super) version: Option<FileVersion>,
    /// The number of each window.
    pub(super) windows: Vec<u32>,
    /// Start and end of each window in seconds.
    pub(super) times: Vec<(f64, f64)>,
    /// The vectors of all windows.
    pub(super) values: Vec<f32>,
}

/// The error of a table or of what is done with its rows.
enum RowError {
    Table(TableError),
    Other(SearchError),
}

impl From<TableError> for RowError {
    fn from(error: TableError) -> Self {
        RowError::Table(error)
    }
}

impl RowError {
    fn at(self, path: &Path) -> SearchError {
        match self {
            RowError::Table(source) => SearchError::Table { path: path.to_path_buf(), source },
            RowError::Other(error) => error,
        }
    }
}

/// Opens the table at `path`.
pub(super) fn open(path: &Path) -> Result<TableReader> {
    TableReader::open(path).map_err(|source| SearchError::Table { path: path.to_path_buf(), source })
}

/// The settings of the table at `path`, whose rows must be pooled windows.
pub(super) fn settings_of(path: &Path) -> Result<Provenance> {
    let refused = |reason: &str| SearchError::Rows { path: path.to_path_buf(), reason: reason.into() };
    match open(path)?.settings() {
        Some(Settings::Full(settings)) if settings.pool.has_frames() => {
            Err(refused("it has a row for each frame; a catalogue needs windows: embed with --pool mean"))
        }
        Some(Settings::Full(settings)) => Ok((**settings).clone()),
        _ => Err(refused("it does not record its settings: give a .parquet table that mert-embed wrote")),
    }
}

/// Passes the rows of each file in the table at `path` to `on_track`, in order. The rows of one file at a time are in
/// memory.
pub(super) fn for_each_track(path: &Path, mut on_track: impl FnMut(&TrackRows) -> Result<()>) -> Result<()> {
    let mut track = TrackRows::default();
    let read = open(path)?.for_each_row(|row| {
        if track.file != row.file && !track.windows.is_empty() {
            on_track(&track).map_err(RowError::Other)?;
            track.windows.clear();
            track.times.clear();
            track.values.clear();
        }
        if track.windows.is_empty() {
            row.file.clone_into(&mut track.file);
            track.version = row.version;
        }
        track.windows.push(row.window);
        track.times.push((row.start, row.end));
        track.values.extend_from_slice(row.values);
        Ok(())
    });
    read.map_err(|error: RowError| error.at(path))?;
    if track.windows.is_empty() { Ok(()) } else { on_track(&track) }
}

/// A file whose rows are kept.
#[derive(Debug)]
pub(super) struct KeptFile {
    /// The number of the file in its table.
    pub(super) index: usize,
    /// The file as the rows will name it.
    pub(super) file: SourceFile,
    /// The number of its rows.
    pub(super) rows: usize,
}

/// Some files of several tables, as the rows of one.
pub(super) struct KeptRows {
    /// Tables, and their files that are kept, in order.
    pub(super) tables: Vec<(PathBuf, Vec<KeptFile>)>,
}

impl KeptRows {
    fn for_each(&mut self, on_row: &mut dyn FnMut(&Position, &[f32]) -> io::Result<()>) -> io::Result<()> {
        let mut file = 0;
        for (path, kept) in &self.tables {
            let (mut index, mut next) = (0, kept.iter().peekable());
            for_each_track(path, |track| {
                if next.next_if(|kept| kept.index == index).is_some() {
                    let width = track.values.len() / track.windows.len();
                    let rows = track.windows.iter().zip(&track.times).zip(track.values.chunks_exact(width));
                    for ((&window, &(start, end)), values) in rows {
                        let position = Position { file, window, frame: None, start, end };
                        on_row(&position, values).map_err(SearchError::io(path))?;
                    }
                    file += 1;
                }
                index += 1;
                Ok(())
            })
            .map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl RowSource for KeptRows {
    fn files(&self) -> Vec<SourceFile> {
        self.tables.iter().flat_map(|(_, kept)| kept).map(|kept| kept.file.clone()).collect()
    }

    fn rows(&self) -> u64 {
        self.tables.iter().flat_map(|(_, kept)| kept).map(|kept| kept.rows as u64).sum()
    }

    fn for_each_position(&mut self, on_position: &mut dyn FnMut(&Position) -> io::Result<()>) -> io::Result<()> {
        self.for_each(&mut |position, _| on_position(position))
    }

    fn for_each_row(&mut self, on_row: &mut dyn FnMut(&Position, &[f32]) -> io::Result<()>) -> io::Result<()> {
        self.for_each(on_row)
    }
}
