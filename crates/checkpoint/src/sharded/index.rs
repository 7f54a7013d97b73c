//! The index of a sharded checkpoint, and the file names of shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_arch::json_from_text;
use serde::Deserialize;

use crate::commands::python;
use crate::paths::{entries, file_name, or_current};
use crate::text::read_text;
use crate::{CheckpointError, Result};

/// The end of an index's file name.
const INDEX_END: &str = ".index.json";

/// The shard of each tensor, as an index (`*.index.json`) lists it.
#[derive(Deserialize)]
pub(super) struct ShardIndex {
    /// The file name of the shard that holds a tensor, by the tensor's name.
    pub(super) weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] if the file is not one; the errors of reading it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        json_from_text(&read_text(path)?)
            .map_err(|e| CheckpointError::not_a_checkpoint(path, format!("it is not a shard index: {e}")))
    }

    /// The file names of the shards, sorted.
    pub(super) fn shards(&self) -> Vec<&String> {
        let mut shards: Vec<&String> = self.weight_map.values().collect();
        shards.sort();
        shards.dedup();
        shards
    }
}

/// Whether a file is an index, by its name.
pub(crate) fn is_index(path: &Path) -> bool {
    path.to_str().is_some_and(|name| name.ends_with(INDEX_END))
}

/// The index that lists this file as a shard, and the number of shards.
///
/// # Errors
/// [`CheckpointError::NotACheckpoint`] for a file that is a shard by its name and in no index.
pub(crate) fn index_of_shard(path: &Path, folder: &Path) -> Result<Option<(PathBuf, usize)>> {
    let name = file_name(path);
    if name.ends_with(INDEX_END) {
        return Ok(None);
    }
    for index in entries(folder).into_iter().filter(|file| file_name(file).ends_with(INDEX_END)) {
        let Ok(read) = ShardIndex::read(&index) else { continue };
        let shards = read.shards();
        if shards.len() > 1 && shards.contains(&&name) {
            let count = shards.len();
            return Ok(Some((index, count)));
        }
    }
    match shard_count(&name) {
        Some(shards) if shards > 1 => {
            let reason = format!(
                "by its name it is one of {shards} shards, but no index beside it names it; {}",
                merge_advice(path, folder)
            );
            Err(CheckpointError::not_a_checkpoint(path, reason))
        }
        _ => Ok(None),
    }
}

/// Advice on getting the index of a shard, or merging the shards without it.
pub(crate) fn merge_advice(shard: &Path, folder: &Path) -> String {
    let name = file_name(shard);
    let (is_safetensors, base) = (name.ends_with(".safetensors"), name.split("-0").next().unwrap_or_default());
    let index =
        if is_safetensors { format!("{base}.safetensors{INDEX_END}") } else { format!("{base}.bin{INDEX_END}") };
    let script = match is_safetensors {
        true => {
            "import pathlib; from safetensors.torch import load_file, save_file; save_file({k: v for f in \
             pathlib.Path({path}).glob(\"*-of-*.safetensors\") for k, v in load_file(f).items()}, \"merged.safetensors\")"
        }
        false => {
            "import pathlib; torch.save({k: v for f in pathlib.Path({path}).glob(\"*-of-*\") for k, v in torch.load(f, \
             map_location=\"cpu\").items()}, \"merged.bin\")"
        }
    };
    format!(
        "get {index} from where the shards come from and put it beside them, or, if all shards are there, merge them into \
         one file: {}",
        python(script, or_current(folder))
    )
}

/// N of `…-00001-of-N.…`, the shard naming of transformers.
pub(crate) fn shard_count(name: &str) -> Option<usize> {
    let (_, count) = name.rsplit_once("-of-")?;
    let digits = count.split_once('.').map_or(count, |(digits, _)| digits);
    (digits.len() >= 5).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_by_their_names() {
        for (name, count) in [
            ("model-00001-of-00003.safetensors", Some(3)),
            ("pytorch_model-00002-of-00002.bin", Some(2)),
            ("best-of-breed.bin", None),
            ("x-of-12.bin", None),
        ] {
            assert_eq!(shard_count(name), count, "{name}");
        }
    }
}
