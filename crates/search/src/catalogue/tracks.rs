//! The table of a part's tracks, `tracks.parquet`: a row for each track, in the order of their segments in `rows.parquet`.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, ListBuilder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use mert_fs::AtomicFile;
use mert_table::FileVersion;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::index::{JOINED, column_names};
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
    /// What the file's tags say, by column.
    pub metadata: BTreeMap<String, Value>,
    /// What tables that were joined say, by column. It comes before the tags.
    pub joined: BTreeMap<String, Value>,
}

impl TrackRecord {
    /// The value in a column of `tracks.parquet`, which begins with `joined.` if it is from a joined table.
    pub(super) fn value(&self, column: &str) -> Option<&Value> {
        match column.strip_prefix(JOINED) {
            Some(name) => self.joined.get(name),
            None => self.metadata.get(column),
        }
    }
}

impl Value {
    /// The value as texts.
    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Value::Number(number) => vec![number.to_string()],
            Value::Texts(texts) => texts.clone(),
        }
    }
}

/// The columns that every table of tracks has; others are metadata.
const OWN: [&str; 6] = ["file", "file_size", "file_modified", "sha256", "duration", "segments"];

/// Rows that are written at once.
const BATCH: usize = 1 << 16;

/// Writes `tracks` to a file at `path`, which appears when it is whole.
pub(super) fn write(path: &Path, tracks: &[TrackRecord]) -> Result<()> {
    let failed = |error: parquet::errors::ParquetError| {
        let source = match error {
            parquet::errors::ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => *source,
                Err(source) => std::io::Error::other(source),
            },
            error => std::io::Error::other(error),
        };
        SearchError::Io { path: path.to_path_buf(), source }
    };
    let columns: Vec<(String, bool)> = column_names(tracks)
        .into_iter()
        .map(|name| {
            let mut values = tracks.iter().filter_map(|track| track.value(&name));
            let is_number = values.all(|value| matches!(value, Value::Number(_)));
            (name, is_number)
        })
        .collect();
    let file = AtomicFile::create(path, true)?;
    let schema = batch(&[], &columns).map_err(|error| failed(error.into()))?.schema();
    let mut writer = ArrowWriter::try_new(file.file(), schema, None).map_err(failed)?;
    for tracks in tracks.chunks(BATCH) {
        writer.write(&batch(tracks, &columns).map_err(|error| failed(error.into()))?).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(file.commit()?)
}

/// Tracks as columns; `columns` are those of metadata, and whether they hold numbers.
fn batch(tracks: &[TrackRecord], columns: &[(String, bool)]) -> Result<RecordBatch, arrow_schema::ArrowError> {
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
    let own = OWN.iter().map(ToString::to_string).zip(own);
    let metadata = columns.iter().map(|(name, is_number)| {
        let values = tracks.iter().map(|track| track.value(name));
        (name.clone(), metadata_array(values, *is_number))
    });
    RecordBatch::try_from_iter_with_nullable(own.chain(metadata).map(|(name, array)| {
        let nullable = !["file", "duration", "segments"].contains(&name.as_str());
        (name, array, nullable)
    }))
}

/// An array of numbers, or of lists of texts.
fn metadata_array<'a>(values: impl Iterator<Item = Option<&'a Value>>, is_number: bool) -> ArrayRef {
    if is_number {
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
            Some(value) => lists.append_value(value.texts().iter().map(Some)),
            None => lists.append_null(),
        }
    }
    Arc::new(lists.finish())
}

/// Reads the table at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<TrackRecord>> {
    let file = File::open(path).map_err(SearchError::io(path))?;
    let damaged = |reason: String| SearchError::damaged(path, reason);
    // The parquet crate (60.1) panics on some invalid files.
    let open = || ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let caught = || damaged("it is not valid Parquet".into());
    let mut batches = catch_unwind(open).map_err(|_| caught())?.map_err(|error| damaged(error.to_string()))?;
    let mut tracks = Vec::new();
    while let Some(batch) = catch_unwind(AssertUnwindSafe(|| batches.next())).map_err(|_| caught())? {
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
            joined: BTreeMap::new(),
        });
    }
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if OWN.contains(&field.name().as_str()) {
            continue;
        }
        for (row, track) in tracks.iter_mut().enumerate() {
            let Some(value) = value(column, row)? else { continue };
            match field.name().strip_prefix(JOINED) {
                Some(name) => track.joined.insert(name.to_string(), value),
                None => track.metadata.insert(field.name().clone(), value),
            };
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
