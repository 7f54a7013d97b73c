//! Parquet: a row per embedding, with the settings in the file's metadata.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeListBuilder, Float32Builder, Float64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::checked_rows::Table;
use crate::provenance::Provenance;
use crate::read_rows::{Header, OnRow, Parts, ReadRows};
use crate::row::{FileVersion, Position, Row, SourceFile};
use crate::{Result, TableError};

/// Bytes of vectors that are collected before they are written.
const BATCH: usize = 4 << 20;

/// Bytes of vectors in a row group.
const ROW_GROUP: usize = 64 << 20;

/// Writes the columns `file`, `file_size`, `file_modified`, `window`, `frame` without pooling, `start`, `end`,
/// `model_sha256`, and one per hidden state, such as `hidden_state_6` or, among several encoders, `mert_hidden_state_6`, a
/// fixed-size list of f32. The settings are in the file's key-value metadata.
pub(crate) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let settings = table.provenance;
    let mut columns = Columns::new(settings, table.has_frames());
    let schema = Arc::new(Schema::new(columns.fields()));
    let bytes = 4 * settings.values_per_row();
    let mut properties = WriterProperties::builder()
        .set_created_by(settings.generator.clone())
        .set_max_row_group_row_count(Some((ROW_GROUP / bytes).max(1)))
        // A dictionary of vectors that are all different only costs time.
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(metadata(settings)?));
    for name in ["file", "file_size", "file_modified", "model_sha256"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties.build())).map_err(io::Error::other)?;
    table.for_each_row(|file, position, values| {
        columns.push(file, position, values);
        if columns.rows * bytes >= BATCH {
            writer.write(&columns.batch(&schema)?).map_err(io::Error::other)?;
        }
        Ok(())
    })?;
    writer.write(&columns.batch(&schema)?).map_err(io::Error::other)?;
    writer.close().map_err(io::Error::other)?;
    Ok(())
}

fn metadata(settings: &Provenance) -> io::Result<Vec<KeyValue>> {
    let provenance = serde_json::to_string(settings)?;
    let mut entries = vec![
        KeyValue::new("provenance".to_string(), provenance),
        KeyValue::new("model_sha256".to_string(), settings.models_sha256()),
    ];
    entries.extend(settings.license.clone().map(|license| KeyValue::new("license".to_string(), license)));
    Ok(entries)
}

/// Rows that are collected until they are written as a batch.
struct Columns<'a> {
    settings: &'a Provenance,
    models_sha256: String,
    rows: usize,
    file: StringBuilder,
    size: UInt64Builder,
    modified: TimestampMicrosecondBuilder,
    window: UInt32Builder,
    frame: Option<UInt32Builder>,
    start: Float64Builder,
    end: Float64Builder,
    model: StringBuilder,
    vectors: Vec<FixedSizeListBuilder<Float32Builder>>,
}

impl<'a> Columns<'a> {
    fn new(settings: &'a Provenance, has_frames: bool) -> Self {
        let vectors = |dim| FixedSizeListBuilder::new(Float32Builder::new(), length(dim)).with_field(element());
        Columns {
            settings,
            models_sha256: settings.models_sha256(),
            rows: 0,
            file: StringBuilder::new(),
            size: UInt64Builder::new(),
            modified: TimestampMicrosecondBuilder::new().with_data_type(timestamp()),
            window: UInt32Builder::new(),
            frame: has_frames.then(UInt32Builder::new),
            start: Float64Builder::new(),
            end: Float64Builder::new(),
            model: StringBuilder::new(),
            vectors: settings.vectors().map(|vector| vectors(vector.dim)).collect(),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let mut fields = vec![("window".to_string(), DataType::UInt32)];
        fields.extend(self.frame.as_ref().map(|_| ("frame".to_string(), DataType::UInt32)));
        fields.extend(["start", "end"].map(|name| (name.to_string(), DataType::Float64)));
        fields.push(("model_sha256".to_string(), DataType::Utf8));
        let list = |dim| DataType::FixedSizeList(Arc::new(element()), length(dim));
        fields.extend(self.settings.vectors().map(|vector| (vector.column(), list(vector.dim))));
        let file = [
            ("file", DataType::Utf8, false),
            ("file_size", DataType::UInt64, true),
            ("file_modified", timestamp(), true),
        ];
        let file = file.map(|(name, kind, nullable)| Field::new(name, kind, nullable));
        file.into_iter().chain(fields.into_iter().map(|(name, kind)| Field::new(name, kind, false))).collect()
    }

    fn push(&mut self, file: &SourceFile, position: &Position, values: &[f32]) {
        self.rows += 1;
        self.file.append_value(&file.name);
        self.size.append_option(file.version.map(|version| version.size));
        self.modified.append_option(file.version.map(|version| version.modified));
        self.window.append_value(position.window);
        if let Some(frame) = &mut self.frame {
            frame.append_value(position.frame.unwrap_or_default());
        }
        self.start.append_value(position.start);
        self.end.append_value(position.end);
        self.model.append_value(&self.models_sha256);
        let mut rest = values;
        for (list, vector) in self.vectors.iter_mut().zip(self.settings.vectors()) {
            let (values, after) = rest.split_at(vector.dim);
            list.values().append_slice(values);
            list.append(true);
            rest = after;
        }
    }

    /// Takes the collected rows as a batch.
    fn batch(&mut self, schema: &Arc<Schema>) -> io::Result<RecordBatch> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.file.finish()),
            Arc::new(self.size.finish()),
            Arc::new(self.modified.finish()),
            Arc::new(self.window.finish()),
        ];
        if let Some(frame) = &mut self.frame {
            columns.push(Arc::new(frame.finish()));
        }
        columns.push(Arc::new(self.start.finish()));
        columns.push(Arc::new(self.end.finish()));
        columns.push(Arc::new(self.model.finish()));
        columns.extend(self.vectors.iter_mut().map(|vectors| Arc::new(vectors.finish()) as ArrayRef));
        RecordBatch::try_new(schema.clone(), columns).map_err(io::Error::other)
    }
}

/// The length of a vector as Arrow counts it.
fn length(dim: usize) -> i32 {
    i32::try_from(dim).unwrap_or(i32::MAX)
}

/// The field of a vector's elements.
fn element() -> Field {
    Field::new("element", DataType::Float32, false)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn open(path: &Path) -> Result<(Header, Rows)> {
    let file = File::open(path)?;
    let metadata = catch_panic(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))??;
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let provenance = entries.and_then(|entries| entries.iter().find(|entry| entry.key == "provenance"));
    let provenance = provenance.and_then(|entry| entry.value.as_deref());
    let provenance: Provenance = serde_json::from_str(provenance.ok_or_else(|| TableError::missing("provenance"))?)
        .map_err(TableError::Provenance)?;
    let vectors = provenance.vectors().map(|vector| (vector.column(), vector.dim)).collect();
    let rows = Rows { file, metadata, vectors, models_sha256: provenance.models_sha256() };
    Ok((Header::from(provenance), rows))
}

/// The rows of an open file.
#[derive(Debug)]
pub(crate) struct Rows {
    file: File,
    metadata: ArrowReaderMetadata,
    /// The columns with vectors: names, and lengths of a vector.
    vectors: Vec<(String, usize)>,
    /// The digests of the models, which every row repeats.
    models_sha256: String,
}

impl ReadRows for Rows {
    fn read(&mut self, parts: Parts, on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>> {
        /// Rows decoded per batch.
        const ROWS: usize = 256;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone());
        let vectors = if parts == Parts::Rows { &self.vectors[..] } else { &[] };
        let names = ["file", "file_size", "file_modified", "window", "frame", "start", "end", "model_sha256"];
        let wanted = names.into_iter().chain(vectors.iter().map(|(name, _)| name.as_str()));
        let mask = ProjectionMask::columns(builder.parquet_schema(), wanted);
        let builder = builder.with_projection(mask).with_batch_size(ROWS);
        let mut batches = catch_panic(|| builder.build())??;
        while let Some(batch) = catch_panic(|| batches.next())? {
            let batch = batch.map_err(ParquetError::from)?;
            check_model(&batch, &self.models_sha256)?;
            if pass_rows(&batch, vectors, on_row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Runs a function of the parquet crate (60.1), which panics on some invalid files, such as one with a negative offset
/// of a column.
fn catch_panic<T>(read: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| TableError::InvalidParquet)
}

/// Checks that every row is of the model that the settings name: a table may be put together from several.
fn check_model(batch: &RecordBatch, expected: &str) -> Result<()> {
    let Some(models) = batch.column_by_name("model_sha256") else { return Ok(()) };
    let models = models.as_string_opt::<i32>();
    let models = models.ok_or_else(|| TableError::wrong_type("model_sha256", "a column of text"))?;
    match models.iter().flatten().find(|&model| model != expected) {
        Some(model) => Err(TableError::OtherModel { found: model.to_string(), expected: expected.to_string() }),
        None => Ok(()),
    }
}

/// Passes the rows of `batch` to `on_row`, with the vectors of the columns `vectors`.
fn pass_rows(batch: &RecordBatch, vectors: &[(String, usize)], on_row: &mut OnRow<'_>) -> Result<ControlFlow<()>> {
    let file = column(batch, "file")?.as_string_opt::<i32>();
    let file = file.ok_or_else(|| TableError::wrong_type("file", "a column of text"))?;
    let size = numbers::<UInt64Type>(batch, "file_size")?;
    let modified = numbers::<TimestampMicrosecondType>(batch, "file_modified")?;
    let window = numbers::<UInt32Type>(batch, "window")?;
    let frame = batch.column_by_name("frame").map(|_| numbers::<UInt32Type>(batch, "frame")).transpose()?;
    let (start, end) = (numbers::<Float64Type>(batch, "start")?, numbers::<Float64Type>(batch, "end")?);
    let mut lists = Vec::with_capacity(vectors.len());
    for (name, dim) in vectors {
        lists.push((vector_values(batch, name, *dim)?, *dim));
    }
    let mut values = Vec::new();
    for row in 0..batch.num_rows() {
        values.clear();
        lists.iter().for_each(|(list, dim)| values.extend_from_slice(&list[row * dim..][..*dim]));
        let is_known = size.is_valid(row) && modified.is_valid(row);
        let version = is_known.then(|| FileVersion { size: size.value(row), modified: modified.value(row) });
        let frame = frame.map(|frame| frame.value(row));
        let (file, window, start, end) = (file.value(row), window.value(row), start.value(row), end.value(row));
        if on_row(Row { file, version, window, frame, start, end, values: &values }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The values of a column of vectors, each of `dim` values.
fn vector_values<'a>(batch: &'a RecordBatch, name: &str, dim: usize) -> Result<&'a [f32]> {
    let lists = column(batch, name)?.as_fixed_size_list_opt();
    let values = lists.filter(|lists| usize::try_from(lists.value_length()) == Ok(dim));
    let values = values.and_then(|lists| lists.values().as_primitive_opt::<Float32Type>());
    let values = values.filter(|values| Some(values.len()) == batch.num_rows().checked_mul(dim));
    let values = values.ok_or_else(|| TableError::wrong_type(name, format!("a column of lists of {dim} f32")))?;
    Ok(values.values())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| TableError::missing(name))
}

fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    let numbers = column(batch, name)?.as_primitive_opt::<T>();
    numbers.ok_or_else(|| TableError::wrong_type(name, format!("a column of the type {}", T::DATA_TYPE)))
}
