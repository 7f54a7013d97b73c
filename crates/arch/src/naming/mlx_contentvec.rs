//! The names of [mlx-contentvec](https://pypi.org/project/mlx-contentvec/) 0.1.1: fairseq's, except in the convolutions.

use super::fairseq;
use super::table::{NameTable, Row};
use crate::weight_norm::{FUSED, SPELLINGS};

/// The rows that differ from fairseq's; they come first. `encoder.pos_conv` is a `Sequential` whose first layer holds the
/// factors g and v of the weight norm, and the convolution as `module`.
const ROWS: &[Row] = &[
    Row::new("feature_extractor.conv_layers.{i}.conv.*", "feature_extractor.conv_layers.{i}.conv.*"),
    Row::new("feature_extractor.conv_layers.{i}.layer_norm.*", "feature_extractor.conv_layers.{i}.norm.*"),
    Row::new("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.layers.0.module.bias"),
    Row::new(FUSED, "encoder.pos_conv.layers.0.module.weight"),
    Row::new(SPELLINGS[1].g, "encoder.pos_conv.layers.0.g"),
    Row::new(SPELLINGS[1].v, "encoder.pos_conv.layers.0.v"),
];

/// The names of `mlx_contentvec.ContentvecModel` beside the Hugging Face names, with the weight norm's factors under the
/// names of torch 2.
pub fn mlx_contentvec_names() -> NameTable {
    NameTable::new([ROWS, fairseq::COMMON].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, FeatureExtractorNorm, inventory};

    /// The names of the package's own model, which the check with the package itself compares one by one.
    #[test]
    fn every_tensor_of_hubert_has_a_name_of_its_own() {
        let config = Config { conv_bias: true, feat_extract_norm: FeatureExtractorNorm::Layer, ..Config::default() };
        let table = mlx_contentvec_names();
        let factors = [SPELLINGS[1].g.to_string(), SPELLINGS[1].v.to_string()];
        let names = inventory(&config).into_iter().map(|spec| spec.name).chain(factors);
        let names: Vec<String> = names.map(|name| table.from_hugging_face(&name).unwrap().name).collect();
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!((names.len(), unique.len()), (211 + 7 + 12, names.len()));
        for name in [
            "feature_extractor.conv_layers.6.norm.bias",
            "layer_norm.weight",
            "post_extract_proj.weight",
            "encoder.pos_conv.layers.0.g",
            "encoder.pos_conv.layers.0.v",
            "encoder.pos_conv.layers.0.module.weight",
            "encoder.pos_conv.layers.0.module.bias",
            "encoder.layers.11.self_attn.out_proj.bias",
            "encoder.layers.0.self_attn_layer_norm.weight",
            "encoder.layers.0.fc2.weight",
            "encoder.layer_norm.weight",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
    }
}
