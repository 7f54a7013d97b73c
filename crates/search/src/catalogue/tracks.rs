//! The table of a part's tracks, `tracks.parquet`: a row for each track, in the order of their segments in `rows.parquet`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, ListBuilder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use mert_table::FileVersion;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Result, SearchError};

/// A value of a track's metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number, such as a tempo.
    Number(f64),
    /// Texts, such as genres.
    Texts(Vec<String>),
}

/// A track of a part.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackRecord {
    /// The file's path, escaped by [`mert_table::escape`].
    pub file: String,
    /// The file's size and time when it was embedded.
    pub version: Option<FileVersion>,
    /// SHA-256 of the file, in hexadecimal, if it is known.
    pub sha256: Option<String>,
    /// The length of the file in seconds, or the end of its last segment if the length is not known.
    pub duration: f64,
    /// The number of its segments.
    pub segments: u32,
    /// What else is known, by column.
    pub metadata: BTreeMap<String, Value>,
}

/// The columns that every table of tracks has; others are metadata.
const OWN: [&str; 6] = ["file", "file_size", "file_modified", "sha256", "duration", "segments"];

/// Writes `tracks` to a new file at `path`.
pub(super) fn write(path: &Path, tracks: &[TrackRecord]) -> Result<()> {
    let failed = |error: parquet::errors::ParquetError| SearchError::Io {
        path: path.to_path_buf(),
        source: std::io::Error::other(error),
    };
    let batch = batch(tracks).map_err(|error| failed(error.into()))?;
    let file = File::create_new(path).map_err(SearchError::io(path))?;
    let mut writer = ArrowWriter::try_new(&file, batch.schema(), None).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    file.sync_all().map_err(SearchError::io(path))
}

fn batch(tracks: &[TrackRecord]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let (mut file, mut sha256) = (StringBuilder::new(), StringBuilder::new());
    let (mut size, mut modified) = (UInt64Builder::new(), Int64Builder::new());
    let (mut duration, mut segments) = (Float64Builder::new(), UInt32Builder::new());
    for track in tracks {
        file.append_value(&track.file);
        sha256.append_option(track.sha256.as_ref());
        size.append_option(track.version.map(|version| version.size));
        modified.append_option(track.version.map(|version| version.modified));
        duration.append_value(track.duration);
        segments.append_value(track.segments);
    }
    let own: [ArrayRef; 6] = [
        Arc::new(file.finish()),
        Arc::new(size.finish()),
        Arc::new(modified.finish()),
        Arc::new(sha256.finish()),
        Arc::new(duration.finish()),
        Arc::new(segments.finish()),
    ];
    let mut columns: Vec<(String, ArrayRef)> = OWN.iter().map(ToString::to_string).zip(own).collect();
    let names: std::collections::BTreeSet<&String> = tracks.iter().flat_map(|track| track.metadata.keys()).collect();
    for name in names {
        let values = tracks.iter().map(|track| track.metadata.get(name));
        columns.push((name.clone(), metadata_array(values)));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| {
        let nullable = !["file", "duration", "segments"].contains(&name.as_str());
        (name, array, nullable)
    }))
}

/// An array of numbers if all known values are numbers, otherwise of lists of texts.
fn metadata_array<'a>(values: impl Iterator<Item = Option<&'a Value>> + Clone) -> ArrayRef {
    if values.clone().flatten().all(|value| matches!(value, Value::Number(_))) {
        let mut numbers = Float64Builder::new();
        values.for_each(|value| match value {
            Some(Value::Number(number)) => numbers.append_value(*number),
            _ => numbers.append_null(),
        });
        return Arc::new(numbers.finish());
    }
    let mut lists = ListBuilder::new(StringBuilder::new());
    for value in values {
        match value {
            Some(Value::Texts(texts)) => lists.append_value(texts.iter().map(Some)),
            Some(Value::Number(number)) => lists.append_value([Some(number.to_string())]),
            None => lists.append_null(),
        }
    }
    Arc::new(lists.finish())
}

/// Reads the table at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<TrackRecord>> {
    let file = File::open(path).map_err(SearchError::io(path))?;
    let damaged = |reason: String| SearchError::damaged(path, reason);
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let batches = batches.map_err(|error| damaged(error.to_string()))?;
    let mut tracks = Vec::new();
    for batch in batches {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        tracks.extend(records(&batch).ok_or_else(|| damaged(format!("expected the columns {}", OWN.join(", "))))?);
    }
    Ok(tracks)
}

/// The tracks of a batch, or `None` if a column is missing or of another type.
fn records(batch: &RecordBatch) -> Option<Vec<TrackRecord>> {
    let [file, size, modified, sha256, duration, segments] = OWN.map(|name| batch.column_by_name(name));
    let (file, sha256) = (file?.as_string_opt::<i32>()?, sha256?.as_string_opt::<i32>()?);
    let (size, modified) = (size?.as_primitive_opt::<UInt64Type>()?, modified?.as_primitive_opt::<Int64Type>()?);
    let (duration, segments) =
        (duration?.as_primitive_opt::<Float64Type>()?, segments?.as_primitive_opt::<UInt32Type>()?);
    let mut tracks = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let is_known = size.is_valid(row) && modified.is_valid(row);
        tracks.push(TrackRecord {
            file: file.value(row).to_string(),
            version: is_known.then(|| FileVersion { size: size.value(row), modified: modified.value(row) }),
            sha256: sha256.is_valid(row).then(|| sha256.value(row).to_string()),
            duration: duration.value(row),
            segments: segments.value(row),
            metadata: BTreeMap::new(),
        });
    }
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if OWN.contains(&field.name().as_str()) {
            continue;
        }
        for (row, track) in tracks.iter_mut().enumerate() {
            if let Some(value) = value(column, row)? {
                track.metadata.insert(field.name().clone(), value);
            }
        }
    }
    Some(tracks)
}

/// A value of a metadata column: `Some(None)` if it is unknown, `None` for a column of another type.
fn value(column: &ArrayRef, row: usize) -> Option<Option<Value>> {
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        return Some(numbers.is_valid(row).then(|| Value::Number(numbers.value(row))));
    }
    let lists = column.as_list_opt::<i32>()?;
    if !lists.is_valid(row) {
        return Some(None);
    }
    let texts = lists.value(row);
    let texts = texts.as_string_opt::<i32>()?;
    Some(Some(Value::Texts(texts.iter().flatten().map(ToString::to_string).collect())))
}
