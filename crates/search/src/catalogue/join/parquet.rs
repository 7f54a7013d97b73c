//! Parquet tables of numbers, texts and lists of texts.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::{Cell, RawTable};

/// Reads a table. Columns of other types, such as vectors, are left out.
pub(super) fn read(path: &Path) -> Result<RawTable, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let invalid = |reason: &dyn std::fmt::Display| format!("it is not a valid Parquet table, or cut short: {reason}");
    // The parquet crate (60.1) panics on some invalid files.
    let caught = |_| "it is not a valid Parquet table".to_string();
    let open = || {
        // Without Arrow's own types, such as dictionaries, there are fewer.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).and_then(|builder| builder.build())
    };
    let mut batches = catch_unwind(AssertUnwindSafe(open)).map_err(caught)?.map_err(|error| invalid(&error))?;
    let mut table = RawTable { unit: "row", ..RawTable::default() };
    let mut kept = Vec::new();
    while let Some(batch) = catch_unwind(AssertUnwindSafe(|| batches.next())).map_err(caught)? {
        let batch = batch.map_err(|error| match error.to_string() {
            text if text.contains("Disabled feature") => {
                "its compression is not supported: write it with snappy, or without compression".into()
            }
            text => invalid(&text),
        })?;
        if table.names.is_empty() {
            for (index, field) in batch.schema().fields().iter().enumerate() {
                if is_readable(field.data_type()) {
                    kept.push(index);
                    table.names.push(field.name().clone());
                } else {
                    table.left_out.push(field.name().clone());
                }
            }
        }
        for row in 0..batch.num_rows() {
            table.lines.push(table.rows.len() + 1);
            table.rows.push(kept.iter().map(|&column| cell(batch.column(column), row)).collect());
        }
    }
    Ok(table)
}

fn is_readable(kind: &DataType) -> bool {
    match kind {
        DataType::List(element) | DataType::LargeList(element) => is_text(element.data_type()),
        kind => {
            is_text(kind)
                || kind.is_integer()
                || matches!(kind, DataType::Float32 | DataType::Float64 | DataType::Boolean)
        }
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn cell(column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Unknown;
    }
    macro_rules! number {
        ($($kind:ident => $native:ident),*) => {
            match column.data_type() {
                $(DataType::$kind => return Cell::Number(column.as_primitive::<$native>().value(row) as f64),)*
                _ => {}
            }
        };
    }
    number!(Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type, UInt8 => UInt8Type,
        UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type, Float32 => Float32Type, Float64 => Float64Type);
    match column.data_type() {
        DataType::Boolean => Cell::Text(column.as_boolean().value(row).to_string()),
        DataType::List(_) => Cell::List(texts(&column.as_list::<i32>().value(row))),
        DataType::LargeList(_) => Cell::List(texts(&column.as_list::<i64>().value(row))),
        _ => text(column, row).map_or(Cell::Unknown, |text| Cell::Text(text.to_string())),
    }
}

fn texts(values: &ArrayRef) -> Vec<String> {
    (0..values.len()).filter(|&row| values.is_valid(row)).filter_map(|row| text(values, row)).map(Into::into).collect()
}

fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float32Array, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// As pandas writes it, compressed with Snappy.
    #[test]
    fn compressed_tables_of_numbers_and_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let columns: [(&str, ArrayRef); 3] = [
            ("path", Arc::new(StringArray::from(vec!["a", "b"]))),
            ("plays", Arc::new(Int64Array::from(vec![Some(5), None]))),
            ("energy", Arc::new(Float32Array::from(vec![0.5, 0.25]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(snappy)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let table = read(&path).unwrap();
        assert_eq!(table.names, ["path", "plays", "energy"]);
        let text = |text: &str| Cell::Text(text.into());
        let expected =
            [vec![text("a"), Cell::Number(5.0), Cell::Number(0.5)], vec![text("b"), Cell::Unknown, Cell::Number(0.25)]];
        assert_eq!(table.rows, expected);
        std::fs::write(&path, b"PAR1 no table PAR1").unwrap();
        assert!(read(&path).is_err());
    }
}
