//! The names of [mlx-hubert](https://pypi.org/project/mlx-hubert/) 0.1.0: Hugging Face's, with the index of a layer in the
//! name of its module.

use super::table::{NameTable, Row};

const ROWS: &[Row] = &[
    Row::new("feature_extractor.conv_layers.{i}.*", "feature_extractor.conv_layer_{i}.*"),
    Row::new("feature_projection.*", "feature_projection.*"),
    Row::new("encoder.pos_conv_embed.conv.*", "encoder.pos_conv_embed.conv.*"),
    Row::new("encoder.layer_norm.*", "encoder.layer_norm.*"),
    Row::new("encoder.layers.{i}.*", "encoder.layer_{i}.*"),
];

/// The names of `mlx_hubert.HubertModel` in its own format (metadata `format: mlx`) beside the Hugging Face names.
pub fn mlx_hubert_names() -> NameTable {
    NameTable::new(ROWS.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, inventory};

    #[test]
    fn every_tensor_of_hubert_has_a_name_of_its_own() {
        let table = mlx_hubert_names();
        let names: std::collections::BTreeSet<String> = inventory(&Config::default())
            .into_iter()
            .map(|spec| table.from_hugging_face(&spec.name).unwrap().name)
            .collect();
        assert_eq!(names.len(), 209);
        for name in [
            "feature_extractor.conv_layer_0.layer_norm.weight",
            "feature_projection.projection.bias",
            "encoder.pos_conv_embed.conv.weight",
            "encoder.layer_11.feed_forward.intermediate_dense.bias",
            "encoder.layer_norm.bias",
        ] {
            assert!(names.contains(name), "{name}");
        }
    }
}
