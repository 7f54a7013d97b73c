//! A part of a bundle: the folder of a model's weights with the files beside them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::Step;
use crate::write::{ByteSize, Contents, Shard, file_len, shards_of_steps};

/// The licence of the weights that Meta published, and of everything derived from them.
pub(super) const LICENSE: &str = "CC-BY-NC-4.0";

/// A text file of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Companion {
    pub(super) name: String,
    pub(super) text: String,
}

/// A model of a bundle in a folder of its own: the language model in the bundle's root, T5, or the codec.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MusicgenPart {
    /// The folder within the bundle; empty for its root.
    pub folder: &'static str,
    /// The licence of the weights.
    pub license: &'static str,
    /// The steps, one for each tensor, sorted by its name.
    pub steps: Vec<Step>,
    /// The text files beside the weights that do not depend on digests.
    #[serde(skip)]
    pub(super) companions: Vec<Companion>,
}

impl MusicgenPart {
    pub(super) fn new(
        folder: &'static str,
        license: &'static str,
        mut steps: Vec<Step>,
        companions: Vec<Companion>,
    ) -> Self {
        steps.sort_by(|a, b| a.name.cmp(&b.name));
        MusicgenPart { folder, license, steps, companions }
    }

    /// The path in the bundle of a file of this part.
    pub(super) fn path(&self, name: &str) -> String {
        if self.folder.is_empty() { name.to_string() } else { format!("{}/{name}", self.folder) }
    }

    /// The number of bytes of the tensors.
    pub fn byte_len(&self) -> usize {
        self.steps.iter().map(Step::byte_len).sum()
    }

    /// The files of weights.
    pub(super) fn shards(&self, most: ByteSize) -> Vec<Shard> {
        shards_of_steps(&self.steps, most)
    }

    /// The tensors of a file of weights.
    pub(super) fn contents(&self, shard: &Shard) -> Contents<'_> {
        Contents { steps: &self.steps[shard.steps.clone()], counters: &[] }
    }

    /// The size of each file of weights with this metadata, its header included, by its path in the bundle.
    pub(super) fn file_sizes(&self, most: ByteSize, metadata: &BTreeMap<String, String>) -> Vec<(String, u64)> {
        let size = |shard: &Shard| file_len(&self.contents(shard), std::iter::once(metadata.clone())) as u64;
        self.shards(most).iter().map(|shard| (self.path(&shard.file), size(shard))).collect()
    }
}
