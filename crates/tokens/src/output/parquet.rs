//! Parquet: a row for each file, with its tokens as a list; pandas gives an array for each, and DuckDB's `unnest` a row for each
//! frame. What holds for all files is in the file's key-value metadata.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use mert_fs::AtomicFile;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::{OutputInfo, TokenSequence, deduplicate};
use crate::{Result, TokensError};

/// Tokens that are collected before they are written as a row group.
const BATCH: usize = 1 << 21;

pub(super) struct Writer {
    writer: ArrowWriter<File>,
    file: AtomicFile,
    schema: Arc<Schema>,
    path: std::path::PathBuf,
    names: StringBuilder,
    samples: UInt64Builder,
    lists: Vec<ListBuilder<Int32Builder>>,
    collected: usize,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

fn element() -> Field {
    Field::new("element", DataType::Int32, false)
}

impl Writer {
    pub(super) fn create(path: &Path, info: &OutputInfo, force: bool) -> Result<Self> {
        let list = |name: &str| Field::new(name, DataType::List(Arc::new(element())), false);
        let columns = if info.deduplicate { vec![list("units"), list("durations")] } else { vec![list("tokens")] };
        let lists = columns.iter().map(|_| ListBuilder::new(Int32Builder::new()).with_field(element())).collect();
        let fixed = [Field::new("file", DataType::Utf8, false), Field::new("samples", DataType::UInt64, true)];
        let schema = Arc::new(Schema::new(fixed.into_iter().chain(columns).collect::<Vec<_>>()));
        let metadata = info.entries().into_iter().map(|(key, value)| KeyValue::new(key.to_string(), value)).collect();
        let properties = WriterProperties::builder()
            .set_created_by(info.generator.clone())
            .set_key_value_metadata(Some(metadata))
            .build();
        let file = AtomicFile::create(path, force)?;
        let handle = file.file().try_clone().map_err(|source| TokensError::write(path, source))?;
        let writer = ArrowWriter::try_new(handle, schema.clone(), Some(properties));
        let writer = writer.map_err(|error| TokensError::write(path, std::io::Error::other(error)))?;
        let (names, samples) = (StringBuilder::new(), UInt64Builder::new());
        Ok(Writer { writer, file, schema, path: path.into(), names, samples, lists, collected: 0 })
    }

    pub(super) fn push(&mut self, info: &OutputInfo, sequence: &TokenSequence) -> Result<()> {
        self.names.append_value(&sequence.file);
        self.samples.append_option(sequence.samples);
        let columns = match info.deduplicate {
            true => {
                let (units, durations) = deduplicate(&sequence.tokens);
                vec![units, durations]
            }
            false => vec![sequence.tokens.clone()],
        };
        for (list, values) in self.lists.iter_mut().zip(columns) {
            self.collected += values.len();
            // The writer refuses tokens beyond the vocabulary, and none has 2^31 centres.
            values.iter().for_each(|&value| list.values().append_value(i32::try_from(value).unwrap_or(i32::MAX)));
            list.append(true);
        }
        if self.collected >= BATCH { self.write_batch() } else { Ok(()) }
    }

    fn write_batch(&mut self) -> Result<()> {
        self.collected = 0;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.names.finish()), Arc::new(self.samples.finish())];
        columns.extend(self.lists.iter_mut().map(|list| Arc::new(list.finish()) as ArrayRef));
        let written = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(std::io::Error::other)
            .and_then(|batch| self.writer.write(&batch).map_err(std::io::Error::other))
            // A row group: what is buffered leaves the memory.
            .and_then(|()| self.writer.flush().map_err(std::io::Error::other));
        written.map_err(|source| TokensError::write(&self.path, source))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.write_batch()?;
        let Writer { writer, file, path, .. } = self;
        writer.close().map_err(|error| TokensError::write(&path, std::io::Error::other(error)))?;
        Ok(file.commit()?)
    }
}
