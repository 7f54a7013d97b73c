//! The table of embeddings, and one file for each format that it is written in.
//!
//! A row is a vector for each hidden state, of one window or, without pooling, of one frame.

mod jsonl;
mod npy;
mod npz;
mod parquet;
mod safetensors;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::EmbedError;
use crate::file_name::escape;
use crate::inputs::{FileVersion, Input};
use crate::journal::{Journal, RowRecord};
use crate::settings::Provenance;

/// How an output is written, which its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One numpy array; its rows are told in a `.rows.jsonl` beside it.
    Npy,
    /// Several numpy arrays.
    Npz,
    /// Tensors, with the names of files in the metadata.
    Safetensors,
    /// Columns, with Arrow's fixed-size lists of f32 for vectors.
    Parquet,
    /// A JSON object for each row.
    Jsonl,
}

impl Format {
    /// The format of an output of this name.
    ///
    /// # Errors
    /// [`EmbedError::OutputFormat`] for any other extension.
    pub fn of(path: &Path) -> Result<Self, EmbedError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Format::Npy),
            Some("npz") => Ok(Format::Npz),
            Some("safetensors") => Ok(Format::Safetensors),
            Some("parquet") => Ok(Format::Parquet),
            Some("jsonl") => Ok(Format::Jsonl),
            _ => Err(EmbedError::OutputFormat { path: path.to_path_buf() }),
        }
    }
}

/// Everything that was embedded.
pub(crate) struct Table<'a> {
    settings: &'a Provenance,
    /// Files with rows, in the order of the inputs.
    inputs: Vec<&'a Input>,
    journal: &'a mut Journal,
}

/// Which part of which file a row is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    /// Size in bytes and modification time in microseconds since 1970 (UTC), when the file was embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_modified: Option<i64>,
    /// The number of the file among those in the table.
    #[serde(skip)]
    pub(crate) file_index: usize,
    pub(crate) window: u32,
    /// Without pooling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frame: Option<u32>,
    /// Of the window, or of the frame: seconds from the start of the track.
    pub(crate) start: f64,
    pub(crate) end: f64,
}

impl Table<'_> {
    /// How many rows there are.
    fn rows(&self) -> u64 {
        self.inputs.iter().flat_map(|input| self.journal.rows(input)).map(|row| u64::from(row.rows)).sum()
    }

    /// The shape of all vectors: `(rows, dim)` for one hidden state, `(rows, hidden states, dim)` for several.
    fn shape(&self) -> Vec<u64> {
        let (layers, dim) = (self.settings.hidden_states.len() as u64, self.settings.dim as u64);
        if layers == 1 { vec![self.rows(), dim] } else { vec![self.rows(), layers, dim] }
    }

    fn has_frames(&self) -> bool {
        self.settings.pool == "none"
    }

    /// The names of the files with rows, escaped by [`escape`].
    fn names(&self) -> Vec<String> {
        self.inputs.iter().map(|input| escape(&input.path)).collect()
    }

    /// Sizes in bytes and times in microseconds since 1970 of the files with rows; -1 and `i64::MIN` if unknown.
    fn versions(&self) -> (Vec<i64>, Vec<i64>) {
        let of =
            |input: &&Input| input.version.map_or((-1, i64::MIN), |version| (version.size as i64, version.modified));
        self.inputs.iter().map(of).unzip()
    }

    /// Shows every row in order: where it is from, and its vectors `(hidden states, dim)`.
    fn for_each(&mut self, mut show: impl FnMut(Place<'_>, &[f32]) -> io::Result<()>) -> io::Result<()> {
        let (width, names) = (self.settings.values(), self.names());
        let mut values = Vec::new();
        for (file_index, (input, file)) in self.inputs.iter().zip(&names).enumerate() {
            for record in 0..self.journal.rows(input).len() {
                let record = self.journal.rows(input)[record];
                values.resize(record.rows as usize * width, 0.0);
                self.journal.read(&record, &mut values)?;
                let places =
                    (0..record.rows).map(|frame| place(self.settings, (file_index, file, input), &record, frame));
                places.zip(values.chunks_exact(width)).try_for_each(|(place, values)| show(place, values))?;
            }
        }
        Ok(())
    }

    /// As `for_each`, without the vectors.
    fn each_place(&self, mut show: impl FnMut(Place<'_>) -> io::Result<()>) -> io::Result<()> {
        for (file_index, (input, file)) in self.inputs.iter().zip(&self.names()).enumerate() {
            for record in self.journal.rows(input) {
                let mut places =
                    (0..record.rows).map(|frame| place(self.settings, (file_index, file, input), record, frame));
                places.try_for_each(&mut show)?;
            }
        }
        Ok(())
    }

    /// Something of every row's place.
    fn places<T>(&self, of: impl Fn(&Place<'_>) -> T) -> Vec<T> {
        let mut found = Vec::new();
        // Nothing in here can fail.
        let _ = self.each_place(|place| {
            found.push(of(&place));
            Ok(())
        });
        found
    }
}

/// Where row `frame` of a record of `file` is from.
fn place<'a>(
    settings: &Provenance,
    (file_index, file, input): (usize, &'a str, &Input),
    record: &RowRecord,
    frame: u32,
) -> Place<'a> {
    let has_frames = settings.pool == "none";
    let (start, samples) = match has_frames {
        true => (record.start + u64::from(frame) * settings.frame_hop as u64, settings.frame_length as u64),
        false => (record.start, record.samples),
    };
    let seconds = |samples: u64| samples as f64 / f64::from(settings.sample_rate);
    Place {
        file,
        file_size: input.version.map(|version| version.size),
        file_modified: input.version.map(|version| version.modified),
        file_index,
        window: record.window,
        frame: has_frames.then_some(frame),
        start: seconds(start),
        end: seconds(start + samples),
    }
}

/// Writes the rows of `inputs` that the journal holds to `output`, whole or not at all.
///
/// # Errors
/// [`EmbedError::OutputFormat`], [`EmbedError::NothingEmbedded`], [`EmbedError::Write`].
pub fn write(output: &Path, settings: &Provenance, inputs: &[Input], journal: &mut Journal) -> Result<(), EmbedError> {
    let format = Format::of(output)?;
    let inputs: Vec<&Input> = inputs.iter().filter(|input| !journal.rows(input).is_empty()).collect();
    if inputs.is_empty() {
        return Err(EmbedError::NothingEmbedded);
    }
    let mut table = Table { settings, inputs, journal };
    let failed = EmbedError::write(output);
    if format == Format::Npy {
        // First the rows: a table without its rows would be of no use, rows without a table do no harm.
        let rows = rows_file(output);
        replace(&rows, |file| jsonl::write_places(&table, file)).map_err(EmbedError::write(&rows))?;
    }
    replace(output, |file| match format {
        Format::Npy => npy::write(&mut table, file),
        Format::Npz => npz::write(&mut table, file),
        Format::Safetensors => safetensors::write(&mut table, file),
        Format::Parquet => parquet::write(&mut table, file),
        Format::Jsonl => jsonl::write(&mut table, file),
    })
    .map_err(failed)
}

/// A row of an existing output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredRow<'a> {
    /// The file's escaped name.
    pub(crate) file: &'a str,
    pub(crate) version: Option<FileVersion>,
    pub(crate) window: u32,
    pub(crate) frame: Option<u32>,
    /// Seconds from the start of the track.
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// `(hidden states, dim)`; empty if only places are read.
    pub(crate) values: &'a [f32],
}

/// The settings that an existing output records.
#[derive(Debug)]
pub(crate) enum StoredSettings {
    /// The full settings.
    Full(Box<Provenance>),
    /// A digest, see [`Provenance::digest`].
    Digest(String),
}

/// Whether to read the vectors of an output, or only the places of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Places,
    Rows,
}

/// Receives each row in order.
pub(crate) type OnRow<'a> = dyn FnMut(StoredRow<'_>) -> io::Result<()> + 'a;

/// An existing output, with the parameters of reading it.
pub(crate) struct StoredTable<'a> {
    pub(crate) path: &'a Path,
    /// The settings with which it must have been written.
    pub(crate) settings: &'a Provenance,
    pub(crate) parts: Parts,
    /// Refuses other settings. Called before the first row is read.
    pub(crate) accept: &'a dyn Fn(&StoredSettings) -> io::Result<()>,
}

impl StoredTable<'_> {
    /// Passes each row to `on_row`.
    pub(crate) fn read(&self, on_row: &mut OnRow<'_>) -> io::Result<()> {
        match Format::of(self.path).map_err(io::Error::other)? {
            Format::Npy => npy::read(self, on_row),
            Format::Npz => npz::read(self, on_row),
            Format::Safetensors => safetensors::read(self, on_row),
            Format::Parquet => parquet::read(self, on_row),
            Format::Jsonl => jsonl::read(self, on_row),
        }
    }

    /// Values per row.
    fn width(&self) -> usize {
        self.settings.values()
    }
}

/// Parses the settings in `provenance` (JSON).
fn stored_settings(provenance: &str) -> io::Result<StoredSettings> {
    serde_json::from_str(provenance)
        .map(|settings| StoredSettings::Full(Box::new(settings)))
        .map_err(|error| invalid(format!("its settings are those of another version of mert-embed ({error})")))
}

/// The file version in stored numbers, if it is known.
fn stored_version(size: i64, modified: i64) -> Option<FileVersion> {
    u64::try_from(size).ok().map(|size| FileVersion { size, modified })
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// The columns of an npz or safetensors file with the places of its rows.
#[derive(Debug, Default)]
struct StoredPlaces {
    files: Vec<String>,
    sizes: Vec<i64>,
    modified: Vec<i64>,
    file: Vec<i64>,
    window: Vec<i64>,
    frame: Option<Vec<i64>>,
    start: Vec<f64>,
    end: Vec<f64>,
}

impl StoredPlaces {
    /// Checks that all columns have the same length.
    fn check(&self) -> io::Result<()> {
        let rows = self.file.len();
        let frames = self.frame.as_ref().map_or(rows, Vec::len);
        if [self.window.len(), self.start.len(), self.end.len(), frames].iter().any(|&length| length != rows) {
            return Err(invalid("its columns differ in length"));
        }
        Ok(())
    }

    fn row<'a>(&'a self, index: usize, values: &'a [f32]) -> io::Result<StoredRow<'a>> {
        let file = usize::try_from(self.file[index]).ok().filter(|&file| file < self.files.len());
        let file =
            file.ok_or_else(|| invalid(format!("row {index} is of file {}, which has no name", self.file[index])))?;
        let number = |number: i64| {
            u32::try_from(number)
                .map_err(|_| invalid(format!("row {index} has the number {number} as its window or frame")))
        };
        let version = self.sizes.get(file).zip(self.modified.get(file));
        Ok(StoredRow {
            file: &self.files[file],
            version: version.and_then(|(&size, &modified)| stored_version(size, modified)),
            window: number(self.window[index])?,
            frame: self.frame.as_ref().map(|frame| number(frame[index])).transpose()?,
            start: self.start[index],
            end: self.end[index],
            values,
        })
    }

    /// Passes each row to `on_row`, with the next `width` of `values`, if there are any.
    fn for_each(
        &self,
        width: usize,
        values: Option<&mut dyn Iterator<Item = io::Result<f32>>>,
        on_row: &mut OnRow<'_>,
    ) -> io::Result<()> {
        let Some(values) = values else {
            return (0..self.file.len()).try_for_each(|index| on_row(self.row(index, &[])?));
        };
        let mut row = Vec::with_capacity(width);
        for index in 0..self.file.len() {
            row.clear();
            for value in values.take(width) {
                row.push(value?);
            }
            if row.len() < width {
                return Err(invalid(format!("it has vectors for {index} of {} rows", self.file.len())));
            }
            on_row(self.row(index, &row)?)?;
        }
        Ok(())
    }
}

/// Checks that the shape is one of `rows` vectors of `width` values.
fn check_shape(shape: &[u64], rows: usize, width: usize) -> io::Result<()> {
    let found = shape.iter().skip(1).product::<u64>();
    if shape.first() != Some(&(rows as u64)) || found != width as u64 {
        return Err(invalid(format!("its vectors have the shape {shape:?}, expected {rows} rows of {width} values")));
    }
    Ok(())
}

/// The file with the places of the rows of a `.npy`.
pub fn rows_file(output: &Path) -> PathBuf {
    output.with_extension("rows.jsonl")
}

/// Writes a file under a temporary name, syncs it to the disk, and renames it.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // A link stays a link: what it leads to is replaced.
    let target = if path.is_symlink() { path.canonicalize()? } else { path.to_path_buf() };
    let path = &target;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mert-embed-");
    // As a file that is created in the ordinary way; temporary files are private.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.tempfile_in(folder)?;
    write(temporary.as_file())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(())
}
