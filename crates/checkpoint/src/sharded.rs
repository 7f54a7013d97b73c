//! Reading checkpoints of several files through their index.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use mert_arch::json_from_text;
use serde::Deserialize;

use super::{Checkpoint, Listing, MappedFile, TensorBytes, open_file};
use crate::source::read_text;
use crate::{CheckpointError, Result};

/// A checkpoint in several files with an index (`*.index.json`), as transformers saves large models.
pub struct ShardedCheckpoint {
    listing: Listing,
    shards: Vec<Box<dyn Checkpoint>>,
    shard_of: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ShardedCheckpoint {
    /// Opens every shard that the index names and checks that each tensor is where the index says.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] if the index and the shards disagree; whatever a shard's own
    /// format reports.
    pub fn open(index: &Path) -> Result<Self> {
        let damaged = |reason: String| CheckpointError::NotACheckpoint { path: index.to_path_buf(), reason };
        let text = read_text(index)?;
        let Index { weight_map } = json_from_text(&text).map_err(|e| damaged(format!("it is no shard index: {e}")))?;

        let folder = index.parent().unwrap_or(Path::new(""));
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        let mut shards = Vec::new();
        for name in &names {
            if Path::new(name).file_name() != Some(name.as_ref()) {
                return Err(damaged(format!("shard `{name}` is not a plain file name")));
            }
            shards.push(open_file(&folder.join(name), None)?);
        }

        let (mut listing, mut shard_of) = (Listing::default(), HashMap::new());
        for (shard, (checkpoint, name)) in shards.iter().zip(&names).enumerate() {
            for (tensor, info) in &checkpoint.listing().tensors {
                if weight_map.get(tensor) != Some(name) {
                    return Err(damaged(format!(
                        "tensor `{tensor}` is in shard `{name}`, which the index does not say"
                    )));
                }
                listing.tensors.insert(tensor.clone(), info.clone());
                shard_of.insert(tensor.clone(), shard);
            }
            listing.foreign.extend(checkpoint.listing().foreign.clone());
        }
        if let Some((tensor, name)) = weight_map.iter().find(|(tensor, _)| !shard_of.contains_key(*tensor)) {
            return Err(damaged(format!("tensor `{tensor}` is not in shard `{name}`, where the index says it is")));
        }
        Ok(ShardedCheckpoint { listing, shards, shard_of })
    }
}

impl Checkpoint for ShardedCheckpoint {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    /// In the order of the shards' names.
    fn files(&self) -> Vec<&MappedFile> {
        self.shards.iter().flat_map(|shard| shard.files()).collect()
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.shard_of.get(name).is_some_and(|&shard| self.shards[shard].is_in_place(name))
    }

    fn read(&self, name: &str) -> io::Result<TensorBytes<'_>> {
        match self.shard_of.get(name) {
            Some(&shard) => self.shards[shard].read(name),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("tensor `{name}` is not in the checkpoint"))),
        }
    }
}
