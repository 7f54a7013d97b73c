//! The safetensors files of a bundle's weights: one, or the shards that an index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mert_arch::{json_from_text, printable_line, text_from_bytes};
use mert_fs::MappedFile;
use safetensors::tensor::SafeTensors;
use safetensors::{Dtype, SafeTensorError};
use serde_json::Value;

use crate::{MusicgenError, Result};

/// The file of a model's weights.
const WEIGHTS: &str = "model.safetensors";

/// The index of several files of weights.
const INDEX: &str = "model.safetensors.index.json";

/// A tensor as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) file: Arc<MappedFile>,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// The position of its bytes in the file.
    pub(super) range: Range<usize>,
}

impl Stored {
    /// The bytes in the file.
    pub(super) fn bytes(&self) -> &[u8] {
        // The header was checked against the file's length.
        &self.file.bytes()[self.range.clone()]
    }
}

/// The stored tensors of a folder by name, and the file or index that lists them.
///
/// # Errors
/// [`MusicgenError::Open`] and [`MusicgenError::File`] for files that are missing, damaged or contradict their index.
pub(super) fn open(folder: &Path) -> Result<(PathBuf, BTreeMap<String, Stored>)> {
    let index = folder.join(INDEX);
    if !index.is_file() {
        let path = folder.join(WEIGHTS);
        let tensors = open_file(&path)?;
        return Ok((path, tensors));
    }
    let listed = read_index(&index)?;
    let mut tensors = BTreeMap::new();
    for shard in listed.values().collect::<BTreeSet<_>>() {
        if Path::new(shard).file_name() != Some(shard.as_ref()) {
            let reason = format!("shard `{}` is not a plain file name", printable_line(shard));
            return Err(MusicgenError::file(&index, reason));
        }
        for (name, stored) in open_file(&folder.join(shard))? {
            if listed.get(&name) != Some(shard) {
                let name = printable_line(&name);
                let reason = format!("tensor `{name}` is in `{shard}`, where the index does not list it");
                return Err(MusicgenError::file(&index, reason));
            }
            tensors.insert(name, stored);
        }
    }
    if let Some((name, shard)) = listed.iter().find(|(name, _)| !tensors.contains_key(*name)) {
        let name = printable_line(name);
        return Err(MusicgenError::file(&index, format!("tensor `{name}` is not in `{shard}`, where it is listed")));
    }
    Ok((index, tensors))
}

/// The tensors of one file.
fn open_file(path: &Path) -> Result<BTreeMap<String, Stored>> {
    let file = Arc::new(MappedFile::open(path).map_err(|source| MusicgenError::open(path, source))?);
    let damaged = |error: SafeTensorError| MusicgenError::file(path, format!("it is no safetensors file: {error}"));
    let (header_len, metadata) = SafeTensors::read_metadata(file.bytes()).map_err(damaged)?;
    let start = header_len + size_of::<u64>();
    if start + metadata.data_len() != file.bytes().len() {
        let expected = start + metadata.data_len();
        let reason = format!("its header describes {expected} bytes, but it has {}", file.bytes().len());
        return Err(MusicgenError::file(path, reason));
    }
    let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (begin, end) = info.data_offsets;
        let range = start + begin..start + end;
        (name, Stored { file: file.clone(), dtype: info.dtype, shape: info.shape.clone(), range })
    };
    Ok(metadata.tensors().into_iter().map(stored).collect())
}

/// The shard of each tensor.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let index: Value = read_json(path)?;
    let entries = index.get("weight_map").and_then(Value::as_object);
    let entries = entries.ok_or_else(|| MusicgenError::file(path, "it has no object `weight_map`"))?;
    let shard = |(tensor, shard): (&String, &Value)| match shard {
        Value::String(shard) => Ok((tensor.clone(), shard.clone())),
        other => {
            let tensor = printable_line(tensor);
            let reason = format!("`weight_map` has {other} for tensor `{tensor}`, expected a file name");
            Err(MusicgenError::file(path, reason))
        }
    };
    entries.iter().map(shard).collect()
}

/// A JSON file.
///
/// # Errors
/// [`MusicgenError::Open`] and [`MusicgenError::File`].
pub(super) fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|source| MusicgenError::open(path, source))?;
    let text = text_from_bytes(&bytes).map_err(|reason| MusicgenError::file(path, reason))?;
    json_from_text(&text).map_err(|error| MusicgenError::file(path, format!("it is not JSON: {error}")))
}
