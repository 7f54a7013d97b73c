//! The index of a model's files, `model.safetensors.index.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Shard;
use crate::write::safetensors::Contents;

/// The name of the index.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

#[derive(Serialize)]
struct Index<'a> {
    metadata: Sizes,
    weight_map: BTreeMap<&'a str, &'a str>,
}

#[derive(Default, Serialize)]
struct Sizes {
    total_parameters: usize,
    total_size: usize,
}

/// The text of the index: the numbers of the model's values and of its bytes, and the file of each tensor, sorted, as
/// [mlx-lm](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/utils.py) and transformers' `save_pretrained` write them. The
/// values of a quantized weight are those of its matrix.
pub(crate) fn index_json(shards: &[Shard], contents: &[Contents<'_>]) -> String {
    let mut index = Index { metadata: Sizes::default(), weight_map: BTreeMap::new() };
    for (shard, contents) in shards.iter().zip(contents) {
        let values = contents.steps.iter().map(|step| step.shape.iter().product::<usize>());
        index.metadata.total_parameters += values.sum::<usize>();
        index.metadata.total_size += contents.byte_len();
        index.weight_map.extend(contents.names().map(|name| (name, shard.file.as_str())));
    }
    // Numbers, and strings under string keys, can always be serialised.
    serde_json::to_string_pretty(&index).unwrap_or_default() + "\n"
}
