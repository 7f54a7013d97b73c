//! A numpy archive: the vectors, and columns with the places of the rows.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};

use npyz::npz::{NpzArchive, NpzWriter};
use npyz::zip::write::FileOptions;
use npyz::zip::{CompressionMethod, DateTime};
use npyz::{AutoSerialize, DType, Deserialize, WriterBuilder};

use super::{OnRow, Parts, StoredPlaces, StoredTable, Table, check_shape, invalid, npy, stored_settings};

type Npz<'a> = NpzWriter<BufWriter<&'a File>>;

/// `embeddings`, and arrays of the same length that describe each row: `file` (an index into `files`), `window`,
/// `start`, `end`, and `frame` without pooling; `files`, `file_size` and `file_modified` of each file; then
/// `hidden_states`, `model_sha256` and `provenance` (JSON).
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let mut npz = NpzWriter::new(BufWriter::new(file));
    let shape = table.shape();
    let array = npz.array("embeddings", options())?.default_dtype().shape(&shape).begin_nd()?;
    npy::write_vectors(table, array)?;
    numbers(&mut npz, "file", &table.places(|place| place.file_index as i64))?;
    numbers(&mut npz, "window", &table.places(|place| i64::from(place.window)))?;
    if table.has_frames() {
        numbers(&mut npz, "frame", &table.places(|place| place.frame.map_or(-1, i64::from)))?;
    }
    numbers(&mut npz, "start", &table.places(|place| place.start))?;
    numbers(&mut npz, "end", &table.places(|place| place.end))?;
    let layers: Vec<i64> = table.settings.hidden_states.iter().map(|&layer| layer as i64).collect();
    numbers(&mut npz, "hidden_states", &layers)?;
    strings(&mut npz, "files", &table.names(), false)?;
    let (sizes, modified) = table.versions();
    numbers(&mut npz, "file_size", &sizes)?;
    numbers(&mut npz, "file_modified", &modified)?;
    strings(&mut npz, "model_sha256", std::slice::from_ref(&table.settings.model_sha256), true)?;
    let provenance = serde_json::to_string(table.settings)?;
    strings(&mut npz, "provenance", &[provenance], true)?;
    npz.zip_writer().finish()?.flush()
}

pub(super) fn read(table: &StoredTable<'_>, on_row: &mut OnRow<'_>) -> io::Result<()> {
    let mut npz = NpzArchive::new(BufReader::new(File::open(table.path)?))?;
    let provenance: Vec<String> = column(&mut npz, "provenance")?;
    (table.accept)(&stored_settings(provenance.first().map_or("", String::as_str))?)?;
    let has_frames = npz.array_names().any(|name| name == "frame");
    let places = StoredPlaces {
        files: column(&mut npz, "files")?,
        sizes: column(&mut npz, "file_size")?,
        modified: column(&mut npz, "file_modified")?,
        file: column(&mut npz, "file")?,
        window: column(&mut npz, "window")?,
        frame: has_frames.then(|| column(&mut npz, "frame")).transpose()?,
        start: column(&mut npz, "start")?,
        end: column(&mut npz, "end")?,
    };
    places.check()?;
    if table.parts == Parts::Places {
        return places.for_each(table.width(), None, on_row);
    }
    let vectors = npz.by_name("embeddings")?.ok_or_else(|| invalid("it has no `embeddings`"))?;
    check_shape(vectors.shape(), places.file.len(), table.width())?;
    let mut values = vectors.data::<f32>().map_err(|error| invalid(error.to_string()))?;
    places.for_each(table.width(), Some(&mut values), on_row)
}

fn column<T: Deserialize>(npz: &mut NpzArchive<BufReader<File>>, name: &str) -> io::Result<Vec<T>> {
    npz.by_name(name)?.ok_or_else(|| invalid(format!("it has no `{name}`")))?.into_vec()
}

/// Stored, as `numpy.savez` does: vectors do not compress. Entries may exceed 4 GB. The time is fixed, so that the same
/// rows give the same bytes.
fn options() -> FileOptions {
    let options = FileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    options.last_modified_time(DateTime::default())
}

fn numbers<T: AutoSerialize + Copy>(npz: &mut Npz<'_>, name: &str, values: &[T]) -> io::Result<()> {
    let mut array = npz.array(name, options())?.default_dtype().shape(&[values.len() as u64]).begin_nd()?;
    array.extend(values.iter().copied())?;
    array.finish()
}

/// numpy's own strings, all as wide as the longest.
fn strings(npz: &mut Npz<'_>, name: &str, values: &[String], scalar: bool) -> io::Result<()> {
    let width = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).max(1);
    let dtype = DType::Plain(format!("<U{width}").parse().map_err(io::Error::other)?);
    let shape: &[u64] = if scalar { &[] } else { &[values.len() as u64] };
    let mut array = npz.array(name, options())?.dtype(dtype).shape(shape).begin_nd()?;
    values.iter().try_for_each(|value| array.push(value))?;
    array.finish()
}
