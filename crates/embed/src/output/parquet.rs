use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Float64Builder, StringBuilder, UInt32Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{Place, Table};
use crate::settings::Provenance;

/// What is collected before it is written, and what a row group has, in bytes of vectors.
const BATCH: usize = 4 << 20;
const ROW_GROUP: usize = 64 << 20;

/// Columns `file`, `window`, `frame` without pooling, `start`, `end`, `model_sha256`, and for each hidden
/// state one such as `hidden_state_6`, a fixed-size list of f32. The settings are the file's key-value
/// metadata.
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let settings = table.settings;
    let mut columns = Columns::new(settings, table.has_frames());
    let schema = Arc::new(Schema::new(columns.fields()));
    let bytes = 4 * settings.values();
    let mut properties = WriterProperties::builder()
        .set_created_by(settings.generator.clone())
        .set_max_row_group_row_count(Some((ROW_GROUP / bytes).max(1)))
        // A dictionary of vectors that are all different only costs time.
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(metadata(settings)?));
    for name in ["file", "model_sha256"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties.build())).map_err(io::Error::other)?;
    table.for_each(|place, values| {
        columns.push(&place, values);
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
        KeyValue::new("model_sha256".to_string(), settings.model_sha256.clone()),
    ];
    entries.extend(settings.license.clone().map(|license| KeyValue::new("license".to_string(), license)));
    Ok(entries)
}

/// Rows that are collected.
struct Columns<'a> {
    settings: &'a Provenance,
    rows: usize,
    file: StringBuilder,
    window: UInt32Builder,
    frame: Option<UInt32Builder>,
    start: Float64Builder,
    end: Float64Builder,
    model: StringBuilder,
    vectors: Vec<FixedSizeListBuilder<Float32Builder>>,
}

impl<'a> Columns<'a> {
    fn new(settings: &'a Provenance, has_frames: bool) -> Self {
        let dim = i32::try_from(settings.dim).unwrap_or(i32::MAX);
        let vectors = || FixedSizeListBuilder::new(Float32Builder::new(), dim).with_field(element());
        Columns {
            settings,
            rows: 0,
            file: StringBuilder::new(),
            window: UInt32Builder::new(),
            frame: has_frames.then(UInt32Builder::new),
            start: Float64Builder::new(),
            end: Float64Builder::new(),
            model: StringBuilder::new(),
            vectors: settings.hidden_states.iter().map(|_| vectors()).collect(),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let mut fields = vec![("file".to_string(), DataType::Utf8), ("window".to_string(), DataType::UInt32)];
        fields.extend(self.frame.as_ref().map(|_| ("frame".to_string(), DataType::UInt32)));
        fields.extend(["start", "end"].map(|name| (name.to_string(), DataType::Float64)));
        fields.push(("model_sha256".to_string(), DataType::Utf8));
        let dim = i32::try_from(self.settings.dim).unwrap_or(i32::MAX);
        let vector = DataType::FixedSizeList(Arc::new(element()), dim);
        fields
            .extend(self.settings.hidden_states.iter().map(|layer| (format!("hidden_state_{layer}"), vector.clone())));
        fields.into_iter().map(|(name, kind)| Field::new(name, kind, false)).collect()
    }

    fn push(&mut self, place: &Place<'_>, values: &[f32]) {
        self.rows += 1;
        self.file.append_value(place.file);
        self.window.append_value(place.window);
        if let Some(frame) = &mut self.frame {
            frame.append_value(place.frame.unwrap_or_default());
        }
        self.start.append_value(place.start);
        self.end.append_value(place.end);
        self.model.append_value(&self.settings.model_sha256);
        for (list, vector) in self.vectors.iter_mut().zip(values.chunks_exact(self.settings.dim)) {
            list.values().append_slice(vector);
            list.append(true);
        }
    }

    /// What was collected, which starts anew.
    fn batch(&mut self, schema: &Arc<Schema>) -> io::Result<RecordBatch> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.file.finish()), Arc::new(self.window.finish())];
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

/// An element of a vector.
fn element() -> Field {
    Field::new("element", DataType::Float32, false)
}
