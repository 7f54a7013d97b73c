//! Checkpoints of several files, read through their index.
//!
//! - this file: the reader over the readers of the shards.
//! - `index.rs`: the index itself, and the recognition of single shards.

mod index;

use std::collections::HashMap;
use std::path::Path;

use mert_fs::MappedFile;

use self::index::ShardIndex;
pub(crate) use self::index::{index_of_shard, is_index, merge_advice, shard_count};
use crate::checkpoint::{Checkpoint, Listing};
use crate::open::{open_file, open_weights_file};
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// A checkpoint in several files with an index (`*.index.json`), as transformers saves large models.
pub(crate) struct ShardedCheckpoint {
    listing: Listing,
    shards: Vec<Box<dyn Checkpoint>>,
    /// The position in `shards` of each tensor's file.
    shard_of: HashMap<String, usize>,
}

impl ShardedCheckpoint {
    /// Opens every shard that the index names and checks that each tensor is where the index lists it.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] if the index and the shards disagree; the errors of a shard's own format.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        ShardedCheckpoint::open_with(path, |shard| open_file(shard, None))
    }

    /// Opens as [`ShardedCheckpoint::open`] does, also the output of a conversion.
    ///
    /// # Errors
    /// Those of [`ShardedCheckpoint::open`].
    pub(crate) fn open_weights(path: &Path) -> Result<Self> {
        ShardedCheckpoint::open_with(path, open_weights_file)
    }

    fn open_with(path: &Path, open: impl Fn(&Path) -> Result<Box<dyn Checkpoint>>) -> Result<Self> {
        let index = ShardIndex::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let names = index.shards();
        let mut shards = Vec::new();
        for name in &names {
            if Path::new(name).file_name() != Some(name.as_ref()) {
                let reason = format!("shard `{name}` is not a plain file name");
                return Err(CheckpointError::not_a_checkpoint(path, reason));
            }
            shards.push(open(&folder.join(name))?);
        }

        let (mut listing, mut shard_of) = (Listing::default(), HashMap::new());
        for (shard, (checkpoint, name)) in shards.iter().zip(&names).enumerate() {
            for (tensor, info) in &checkpoint.listing().tensors {
                if index.weight_map.get(tensor) != Some(name) {
                    let reason = format!("tensor `{tensor}` is in shard `{name}`, where the index does not list it");
                    return Err(CheckpointError::not_a_checkpoint(path, reason));
                }
                listing.tensors.insert(tensor.clone(), info.clone());
                shard_of.insert(tensor.clone(), shard);
            }
            listing.non_tensors.extend(checkpoint.listing().non_tensors.clone());
        }
        if let Some((tensor, name)) = index.weight_map.iter().find(|(tensor, _)| !shard_of.contains_key(*tensor)) {
            let reason = format!("tensor `{tensor}` is not in shard `{name}`, where the index lists it");
            return Err(CheckpointError::not_a_checkpoint(path, reason));
        }
        Ok(ShardedCheckpoint { listing, shards, shard_of })
    }
}

impl Checkpoint for ShardedCheckpoint {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    /// The files of the shards, in the order of the shards' names.
    fn files(&self) -> Vec<&MappedFile> {
        self.shards.iter().flat_map(|shard| shard.files()).collect()
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.shard_of.get(name).is_some_and(|&shard| self.shards[shard].is_in_place(name))
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        let shard = *self.shard_of.get(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
        self.shards[shard].read(name)
    }
}
