use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde_json::{Map, Value, json};

use super::Table;

/// `embeddings` (F32), and as long as it `file` (an index into the metadata's `files`), `window`, `frame`
/// without pooling (I64), `start` and `end` (F64).
///
/// The header is written here because the crate's own writer wants all tensors in memory and takes the
/// metadata in the order of a hash.
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let rows = table.rows();
    // Those of 8 bytes first: all are aligned then, whatever the number of floats.
    let mut tensors: Vec<_> = ["start", "end"].map(|name| (name, "F64", 8, vec![rows])).into();
    tensors.extend(["file", "window"].map(|name| (name, "I64", 8, vec![rows])));
    tensors.extend(table.has_frames().then(|| ("frame", "I64", 8, vec![rows])));
    tensors.push(("embeddings", "F32", 4, table.shape()));

    let mut out = BufWriter::new(file);
    let header = header(table, &tensors)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut column = |values: Vec<[u8; 8]>| values.iter().try_for_each(|value| out.write_all(value));
    column(table.places(|place| place.start.to_le_bytes()))?;
    column(table.places(|place| place.end.to_le_bytes()))?;
    column(table.places(|place| (place.file_index as i64).to_le_bytes()))?;
    column(table.places(|place| i64::from(place.window).to_le_bytes()))?;
    if table.has_frames() {
        column(table.places(|place| place.frame.map_or(-1, i64::from).to_le_bytes()))?;
    }
    table.for_each(|_, values| values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())))?;
    out.flush()
}

/// The JSON header, filled up with blanks so that data starts at a multiple of 8.
fn header(table: &Table<'_>, tensors: &[(&str, &str, u64, Vec<u64>)]) -> io::Result<Vec<u8>> {
    let Value::Object(settings) = serde_json::to_value(table.settings)? else { return Ok(Vec::new()) };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let mut metadata: BTreeMap<String, String> = settings.into_iter().map(|(key, value)| (key, text(value))).collect();
    metadata.insert("files".to_string(), serde_json::to_string(&table.names())?);
    let mut header = Map::from_iter([("__metadata__".to_string(), json!(metadata))]);
    let mut start = 0;
    for (name, dtype, size, shape) in tensors {
        let end = start + size * shape.iter().product::<u64>();
        header.insert((*name).to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
        start = end;
    }
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}
