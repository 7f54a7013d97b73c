//! The index of a model's files, `model.safetensors.index.json`.

use std::collections::BTreeMap;

use serde::Serialize;

/// The name of the index.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

#[derive(Serialize)]
struct Index<'a> {
    metadata: Sizes,
    weight_map: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Sizes {
    total_parameters: u64,
    total_size: u64,
}

/// The text of an index with the numbers of the model's values and of its bytes, and the file of each tensor, sorted: what
/// [mlx-lm](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/utils.py) and transformers' `save_pretrained` write.
pub(crate) fn index_json<'a>(
    total_parameters: u64,
    total_size: u64,
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let weight_map = files.into_iter().collect();
    let index = Index { metadata: Sizes { total_parameters, total_size }, weight_map };
    // Numbers, and strings under string keys, can always be serialised.
    serde_json::to_string_pretty(&index).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_sorted() {
        let files = [("b.weight", "model-00002-of-00002.safetensors"), ("a.weight", "model-00001-of-00002.safetensors")];
        let json = index_json(12, 24, files);
        let expected = r#"{
  "metadata": {
    "total_parameters": 12,
    "total_size": 24
  },
  "weight_map": {
    "a.weight": "model-00001-of-00002.safetensors",
    "b.weight": "model-00002-of-00002.safetensors"
  }
}
"#;
        assert_eq!(json, expected);
    }
}
