//! Safetensors: the vectors and columns with the places of the rows; file names and settings are in the metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{OnRow, Parts, StoredPlaces, StoredTable, Table, check_shape, invalid, stored_settings};

/// `embeddings` (F32), and of the same length `file` (an index into the metadata's `files`), `window`, `frame` without
/// pooling (I64), `start` and `end` (F64); `file_size` and `file_modified` (I64) of each of the `files`.
///
/// The header is written here because the crate's own writer needs all tensors in memory and writes the metadata in
/// hash order.
pub(super) fn write(table: &mut Table<'_>, file: &File) -> io::Result<()> {
    let rows = table.rows();
    let (sizes, modified) = table.versions();
    // Those of 8 bytes first: all are aligned then, whatever the number of floats.
    let mut tensors: Vec<_> = ["start", "end"].map(|name| (name, "F64", 8, vec![rows])).into();
    tensors.extend(["file", "window"].map(|name| (name, "I64", 8, vec![rows])));
    tensors.extend(table.has_frames().then(|| ("frame", "I64", 8, vec![rows])));
    tensors.extend(["file_size", "file_modified"].map(|name| (name, "I64", 8, vec![sizes.len() as u64])));
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
    column(sizes.iter().map(|size| size.to_le_bytes()).collect())?;
    column(modified.iter().map(|time| time.to_le_bytes()).collect())?;
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
    metadata.insert("provenance".to_string(), serde_json::to_string(table.settings)?);
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

/// A tensor's entry in the header.
#[derive(Deserialize)]
struct StoredTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

pub(super) fn read(table: &StoredTable<'_>, on_row: &mut OnRow<'_>) -> io::Result<()> {
    let mut stored = Stored::open(table.path)?;
    let metadata: BTreeMap<String, String> = serde_json::from_value(stored.header["__metadata__"].clone())?;
    let text = |key: &str| metadata.get(key).ok_or_else(|| invalid(format!("its metadata has no `{key}`")));
    (table.accept)(&stored_settings(text("provenance")?)?)?;
    let has_frames = stored.header.get("frame").is_some();
    let places = StoredPlaces {
        files: serde_json::from_str(text("files")?)?,
        sizes: stored.column("file_size", "I64", i64::from_le_bytes)?,
        modified: stored.column("file_modified", "I64", i64::from_le_bytes)?,
        file: stored.column("file", "I64", i64::from_le_bytes)?,
        window: stored.column("window", "I64", i64::from_le_bytes)?,
        frame: has_frames.then(|| stored.column("frame", "I64", i64::from_le_bytes)).transpose()?,
        start: stored.column("start", "F64", f64::from_le_bytes)?,
        end: stored.column("end", "F64", f64::from_le_bytes)?,
    };
    places.check()?;
    if table.parts == Parts::Places {
        return places.for_each(table.width(), None, on_row);
    }
    let shape = stored.tensor("embeddings", "F32", 4)?.shape;
    check_shape(&shape, places.file.len(), table.width())?;
    let mut values = std::iter::repeat_with(|| {
        let mut bytes = [0; 4];
        stored.reader.read_exact(&mut bytes).map(|()| f32::from_le_bytes(bytes))
    });
    places.for_each(table.width(), Some(&mut values), on_row)
}

/// An open file with its parsed header.
struct Stored {
    reader: BufReader<File>,
    header: Value,
    /// Offset and length of the data, in bytes.
    data: u64,
    length: u64,
}

impl Stored {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let data = u64::from_le_bytes(length).checked_add(8).filter(|&data| data <= bytes);
        let data = data.ok_or_else(|| invalid("its header is longer than the file"))?;
        let mut header = Vec::new();
        (&mut reader).take(data - 8).read_to_end(&mut header)?;
        Ok(Stored { reader, header: serde_json::from_slice(&header)?, data, length: bytes - data })
    }

    /// Seeks to the first byte of a tensor.
    fn tensor(&mut self, name: &str, dtype: &str, size: u64) -> io::Result<StoredTensor> {
        let tensor = self.header.get(name).ok_or_else(|| invalid(format!("it has no `{name}`")))?;
        let tensor: StoredTensor = serde_json::from_value(tensor.clone())?;
        let (start, end) = tensor.data_offsets;
        let bytes = tensor.shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent));
        if tensor.dtype != dtype || end > self.length || end.checked_sub(start) != bytes {
            return Err(invalid(format!("`{name}` is not a tensor of {dtype} that lies within the file")));
        }
        self.reader.seek(SeekFrom::Start(self.data + start))?;
        Ok(tensor)
    }

    fn column<T>(&mut self, name: &str, dtype: &str, from_bytes: impl Fn([u8; 8]) -> T) -> io::Result<Vec<T>> {
        let (start, end) = self.tensor(name, dtype, 8)?.data_offsets;
        let mut bytes = Vec::new();
        (&mut self.reader).take(end - start).read_to_end(&mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|&value| from_bytes(value)).collect())
    }
}
