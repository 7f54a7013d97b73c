//! The files that hold a model's weights: one, or the shards that an index lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use mert_arch::{Metadata, TARGET_KEY, WEIGHT_FILES, json_from_text, printable_line, text_from_bytes};
use serde_json::Value;

use super::safetensors_file::{SafetensorsFile, StoredInfo};
use crate::Error;

/// The file names of a folder's weights in the order of preference: one file, or an index of shards.
const FILE_NAMES: [&str; 2] = [WEIGHT_FILES[0], WEIGHT_FILES[1]];

/// The end of an index's file name, as transformers and mlx-lm write it.
const INDEX_END: &str = ".index.json";

/// All tensors of a model, with the files that hold them.
pub(super) struct ModelFiles {
    /// The file or index that was opened.
    pub(super) path: PathBuf,
    pub(super) files: Vec<SafetensorsFile>,
}

impl ModelFiles {
    /// Opens a file, an index, or the one of them that a folder holds.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a folder without weights and for an index that its shards contradict; the errors of each
    /// file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let path = weights_in(path)?;
        if !path.to_string_lossy().ends_with(INDEX_END) {
            return Ok(ModelFiles { files: vec![SafetensorsFile::open(&path)?], path });
        }
        let shard_of = read_index(&path)?;
        let shards: BTreeSet<&String> = shard_of.values().collect();
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut files = Vec::with_capacity(shards.len());
        for shard in shards {
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                let shard = printable_line(shard);
                return Err(Error::model_file(&path, format!("shard `{shard}` is not a plain file name")));
            }
            let file = SafetensorsFile::open(&folder.join(shard))?;
            let is_listed = |name: &&String| shard_of.get(*name) == Some(shard);
            if let Some(name) = file.tensors.keys().filter(|name| !is_listed(name)).min() {
                let name = printable_line(name);
                let reason = format!("tensor `{name}` is in shard `{shard}`, where the index does not list it");
                return Err(Error::model_file(&path, reason));
            }
            let is_missing =
                |(name, in_shard): &(&String, &String)| *in_shard == shard && !file.tensors.contains_key(*name);
            if let Some((name, _)) = shard_of.iter().find(is_missing) {
                let name = printable_line(name);
                let reason = format!("tensor `{name}` is not in shard `{shard}`, where the index lists it");
                return Err(Error::model_file(&path, reason));
            }
            files.push(file);
        }
        if files.is_empty() {
            return Err(Error::model_file(&path, "its `weight_map` lists no tensors".into()));
        }
        Ok(ModelFiles { path, files })
    }

    /// Whether mert-convert wrote any of the files, for this toolkit or another program.
    pub(super) fn are_converted(&self) -> bool {
        self.files.iter().any(is_converted)
    }

    /// The metadata that mert-convert wrote into the weights: the same in every shard that has it.
    ///
    /// # Errors
    /// [`Error::Metadata`] naming the file.
    pub(super) fn metadata(&self) -> Result<Metadata, Error> {
        let none_is_converted = !self.are_converted();
        let described = self.files.iter().filter(|file| none_is_converted || is_converted(file));
        let mut read = described.map(|file| {
            let metadata = Metadata::from_lookup(|key| file.metadata.get(key).map(String::as_str));
            metadata.map(|metadata| (file, metadata)).map_err(|source| Error::metadata(file.path(), source))
        });
        let (first, metadata) = match read.next() {
            Some(first) => first?,
            None => return Err(Error::model_file(&self.path, "it lists no shards".into())),
        };
        for other in read {
            let (file, other) = other?;
            if other != metadata {
                let (file, first) = (file.path().display(), first.path().display());
                let reason = format!("the metadata of {file} is not that of {first}; use the shards of one conversion");
                return Err(Error::model_file(&self.path, reason));
            }
        }
        Ok(metadata)
    }

    /// The tensors of all files by name, each with the position of its file.
    pub(super) fn tensors(&self) -> HashMap<&str, (usize, &StoredInfo)> {
        // A shard holds only what the index lists for it, so that no name is in two.
        let files = self.files.iter().enumerate();
        let named = files.flat_map(|(i, file)| file.tensors.iter().map(move |(name, info)| (name.as_str(), (i, info))));
        named.collect()
    }
}

/// Whether a file has the metadata of mert-convert.
fn is_converted(file: &SafetensorsFile) -> bool {
    ["layout", TARGET_KEY].iter().any(|key| file.metadata.contains_key(*key))
}

/// The weights of a folder; a file as it is.
fn weights_in(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let found = FILE_NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let reason =
            format!("the folder holds neither {} nor {}; convert its model first", FILE_NAMES[0], FILE_NAMES[1]);
        Error::model_file(path, reason)
    })
}

/// The shard of each tensor, as an index lists it in its `weight_map`.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let index: Value = read_json(path)?;
    let entries = index.get("weight_map").and_then(Value::as_object);
    let entries = entries.ok_or_else(|| Error::model_file(path, "it has no object `weight_map`".into()))?;
    let shard = |(tensor, shard): (&String, &Value)| match shard {
        Value::String(shard) => Ok((tensor.clone(), shard.clone())),
        other => {
            let tensor = printable_line(tensor);
            Err(Error::model_file(
                path,
                format!("`weight_map` has {other} for tensor `{tensor}`, expected a file name"),
            ))
        }
    };
    entries.iter().map(shard).collect()
}

/// A JSON file as Python writes it.
///
/// # Errors
/// [`Error::Open`] or [`Error::ModelFile`].
pub(super) fn read_json(path: &Path) -> Result<Value, Error> {
    let text = read_text(path)?;
    json_from_text(&text).map_err(|error| Error::model_file(path, format!("it is not JSON: {error}")))
}

/// A text file in any encoding that [`text_from_bytes`] reads.
///
/// # Errors
/// [`Error::Open`] or [`Error::ModelFile`].
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::open(path, source))?;
    text_from_bytes(&bytes).map_err(|reason| Error::model_file(path, reason))
}
