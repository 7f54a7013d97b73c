//! The inference of the configuration from tensor shapes, for checkpoints without a `config.json`.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Config, ConfigField, FeatureExtractorNorm, weight_norm};

/// A configuration inferred from the tensors of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredConfig {
    /// The configuration.
    pub config: Config,
    /// The fields that the tensors do not determine, each with the assumed value, as text.
    pub assumptions: Vec<String>,
}

/// An error of inferring a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InferError {
    /// A tensor that every model of the family has is missing.
    #[error("cannot infer the architecture without tensor `{name}`; give the model's config.json")]
    Missing {
        /// The name of the tensor.
        name: String,
    },
    /// A tensor has another rank than in every model of the family.
    #[error("cannot infer the architecture: tensor `{name}` has shape {found:?}, expected {rank} dimensions")]
    Rank {
        /// The name of the tensor.
        name: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The expected number of dimensions.
        rank: usize,
    },
    /// The shapes match no published model, so that fields they do not determine cannot be assumed.
    #[error(
        "there is no config.json, and the tensors' shapes do not determine {}: give the model's config.json with --config, \
         or the fields that you know with {}", .fields.join(" and "), options(.fields)
    )]
    Undetermined {
        /// The missing configuration fields.
        fields: Vec<&'static str>,
    },
    /// A given field has a value that no model of these shapes can have.
    #[error("--set: {reason}")]
    Given {
        /// The field, its value and the values that are possible.
        reason: String,
    },
    /// The shapes contradict each other.
    #[error("the architecture inferred from the tensors is impossible ({reason}); give the model's config.json")]
    Impossible {
        /// The contradiction.
        reason: String,
    },
}

/// The shapes of a published model, and the fields that they do not determine. The convolutions and the positional
/// convolution of every published model are those of [`Config::default`].
struct Published {
    hidden_size: usize,
    num_hidden_layers: usize,
    intermediate_size: usize,
    /// Whether the feature extractor normalises after every convolution.
    norm_after_every_conv: bool,
    conv_bias: bool,
    feat_proj_layer_norm: bool,
    num_attention_heads: usize,
    /// `None` where published models of these shapes differ.
    do_stable_layer_norm: Option<bool>,
}

/// The shapes of HuBERT base, MERT-v1-95M and ContentVec.
const BASE: Published = Published {
    hidden_size: 768,
    num_hidden_layers: 12,
    intermediate_size: 3072,
    norm_after_every_conv: false,
    conv_bias: false,
    feat_proj_layer_norm: true,
    num_attention_heads: 12,
    do_stable_layer_norm: Some(false),
};
const DISTIL_HUBERT: Published = Published { num_hidden_layers: 2, feat_proj_layer_norm: false, ..BASE };
const HUBERT_LARGE: Published = Published {
    hidden_size: 1024,
    num_hidden_layers: 24,
    intermediate_size: 4096,
    norm_after_every_conv: true,
    conv_bias: true,
    num_attention_heads: 16,
    do_stable_layer_norm: Some(true),
    ..BASE
};
const HUBERT_X_LARGE: Published =
    Published { hidden_size: 1280, num_hidden_layers: 48, intermediate_size: 5120, ..HUBERT_LARGE };
/// The shapes of MERT-v1-330M, which is pre-LN, and of wav2vec2-large, which is post-LN.
const MERT_330M: Published =
    Published { norm_after_every_conv: false, conv_bias: false, do_stable_layer_norm: None, ..HUBERT_LARGE };
const PUBLISHED: [Published; 5] = [BASE, DISTIL_HUBERT, HUBERT_LARGE, HUBERT_X_LARGE, MERT_330M];

impl Published {
    /// Whether a configuration has every size of this model.
    fn has_shapes_of(&self, config: &Config) -> bool {
        let usual = Config::default();
        config.hidden_size == self.hidden_size
            && config.num_hidden_layers == self.num_hidden_layers
            && config.intermediate_size == self.intermediate_size
            && (config.feat_extract_norm == FeatureExtractorNorm::Layer) == self.norm_after_every_conv
            && config.conv_bias == self.conv_bias
            && config.feat_proj_layer_norm == self.feat_proj_layer_norm
            && config.conv_dim == usual.conv_dim
            && config.conv_kernel == usual.conv_kernel
            && config.num_conv_pos_embeddings == usual.num_conv_pos_embeddings
            && config.num_conv_pos_embedding_groups == usual.num_conv_pos_embedding_groups
    }
}

/// The options that give the fields, for an error message.
fn options(fields: &[&'static str]) -> String {
    let example = |field: &&str| match *field {
        "do_stable_layer_norm" => "--set do_stable_layer_norm=true (pre-LN) or false (post-LN)".to_string(),
        field => format!("--set {field}=…"),
    };
    fields.iter().map(example).collect::<Vec<_>>().join(" and ")
}

/// Infers the configuration from tensor names and PyTorch-order shapes (prefix removed). `given` are known fields.
///
/// Shapes determine every size, which norms and biases exist, and the positional convolution's groups. They do not
/// determine strides, head count, pre- or post-LN, DeepNorm, activations or epsilons: for these the values of published
/// models with such shapes are assumed and listed in [`InferredConfig::assumptions`].
///
/// # Errors
/// [`InferError`] if a tensor that the sizes depend on is missing or malformed, or if no published model has such
/// shapes and `given` lacks a field that they do not determine.
pub fn infer_config(
    tensors: &BTreeMap<String, Vec<usize>>,
    given: &[ConfigField],
) -> Result<InferredConfig, InferError> {
    let shape = |name: &str, rank: usize| -> Result<&[usize], InferError> {
        let found = tensors.get(name).ok_or_else(|| InferError::Missing { name: name.to_string() })?;
        if found.len() != rank || found.contains(&0) {
            return Err(InferError::Rank { name: name.to_string(), found: found.clone(), rank });
        }
        Ok(found)
    };
    let has = |name: &str| tensors.contains_key(name);

    let conv_path = |i: usize| format!("feature_extractor.conv_layers.{i}.conv.weight");
    let (mut conv_dim, mut conv_kernel) = (Vec::new(), Vec::new());
    for i in 0.. {
        if i > 0 && !has(&conv_path(i)) {
            break;
        }
        let weight = shape(&conv_path(i), 3)?;
        conv_dim.push(weight[0]);
        conv_kernel.push(weight[2]);
    }

    let hidden_size = shape("feature_projection.projection.weight", 2)?[0];
    let positional = [weight_norm::FUSED, weight_norm::SPELLINGS[0].v, weight_norm::SPELLINGS[1].v]
        .into_iter()
        .find(|name| has(name))
        .unwrap_or(weight_norm::SPELLINGS[0].v);
    let positional = shape(positional, 3)?;
    let intermediate_size = shape("encoder.layers.0.feed_forward.intermediate_dense.weight", 2)?[0];
    let num_hidden_layers =
        (0..).take_while(|i| has(&format!("encoder.layers.{i}.feed_forward.intermediate_dense.weight"))).count();

    let norm_after_every_conv = conv_dim.len() > 1 && has("feature_extractor.conv_layers.1.layer_norm.weight");
    let usual = Config::default();
    let conv_stride = (conv_kernel == usual.conv_kernel).then(|| usual.conv_stride.clone());
    let has_strides = conv_stride.is_some();

    let config = Config {
        model_type: "hubert".into(),
        hidden_size,
        num_hidden_layers,
        num_attention_heads: 1,
        intermediate_size,
        conv_stride: conv_stride.unwrap_or_else(|| vec![1; conv_kernel.len()]),
        conv_bias: has("feature_extractor.conv_layers.0.conv.bias"),
        feat_extract_norm: if norm_after_every_conv {
            FeatureExtractorNorm::Layer
        } else {
            FeatureExtractorNorm::Group
        },
        feat_proj_layer_norm: has("feature_projection.layer_norm.weight"),
        num_conv_pos_embeddings: positional[2],
        num_conv_pos_embedding_groups: hidden_size / positional[1].min(hidden_size),
        do_stable_layer_norm: false,
        conv_dim,
        conv_kernel,
        ..usual
    };
    let published = PUBLISHED.iter().find(|published| published.has_shapes_of(&config));
    let heads = published.map(|published| published.num_attention_heads);
    let order = published.and_then(|published| published.do_stable_layer_norm);
    let is_given = |field: &str| given.iter().any(|given| given.name == field);
    let unknown = [
        ("num_attention_heads", heads.is_none()),
        ("do_stable_layer_norm", order.is_none()),
        ("conv_stride", !has_strides),
    ];
    let fields: Vec<&str> =
        unknown.into_iter().filter(|(field, unknown)| *unknown && !is_given(field)).map(|(field, _)| field).collect();
    if !fields.is_empty() {
        return Err(InferError::Undetermined { fields });
    }
    let config =
        Config { num_attention_heads: heads.unwrap_or(1), do_stable_layer_norm: order.unwrap_or_default(), ..config };
    let config = config.with_fields(given).map_err(|error| match error.field().is_some_and(is_given) {
        true => InferError::Given { reason: error.to_string() },
        false => InferError::Impossible { reason: error.to_string() },
    })?;

    let like = "as published models of these shapes have it";
    let assumptions = [
        ("model_type", format!("model_type = {} (MERT has the same shapes)", config.model_type)),
        ("num_attention_heads", format!("num_attention_heads = {} ({like})", config.num_attention_heads)),
        ("conv_stride", format!("conv_stride = {:?}", config.conv_stride)),
        ("do_stable_layer_norm", format!("do_stable_layer_norm = {} ({like})", config.do_stable_layer_norm)),
        ("deepnorm", "deepnorm = false".into()),
        ("attention_relax", "attention_relax off".into()),
        ("hidden_act", "hidden_act = gelu".into()),
        ("feat_extract_activation", "feat_extract_activation = gelu".into()),
        ("layer_norm_eps", format!("layer_norm_eps = {:e}", config.layer_norm_eps)),
    ];
    let assumptions = assumptions.into_iter().filter(|(field, _)| !is_given(field)).map(|(_, text)| text).collect();
    Ok(InferredConfig { config, assumptions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory;

    fn shapes(config: &Config) -> BTreeMap<String, Vec<usize>> {
        inventory(config).into_iter().map(|t| (t.name, t.shape)).collect()
    }

    fn infer(config: &Config, given: &[&str]) -> Result<InferredConfig, InferError> {
        let given: Vec<ConfigField> = given.iter().map(|text| text.parse().unwrap()).collect();
        infer_config(&shapes(config), &given)
    }

    fn large(hidden_size: usize) -> Config {
        Config {
            hidden_size,
            num_attention_heads: 16,
            num_hidden_layers: if hidden_size == 1024 { 24 } else { 48 },
            intermediate_size: 4 * hidden_size,
            feat_extract_norm: FeatureExtractorNorm::Layer,
            do_stable_layer_norm: true,
            conv_bias: true,
            ..Config::default()
        }
    }

    #[test]
    fn the_published_sizes_are_recovered() {
        let distilled = Config { num_hidden_layers: 2, feat_proj_layer_norm: false, ..Config::default() };
        for config in [Config::default(), distilled, large(1024), large(1280)] {
            let inferred = infer(&config, &[]).unwrap();
            assert_eq!(inferred.config, config);
            assert!(inferred.assumptions.iter().any(|a| a.contains("num_attention_heads")));
        }
    }

    #[test]
    fn fields_that_no_published_model_determines_must_be_given() {
        let odd = Config { hidden_size: 48, num_attention_heads: 4, conv_kernel: vec![9, 5, 3], ..Config::default() };
        let odd = Config { conv_dim: vec![24; 3], conv_stride: vec![4, 3, 2], ..odd };
        let error = infer(&odd, &[]).unwrap_err();
        let fields = vec!["num_attention_heads", "do_stable_layer_norm", "conv_stride"];
        assert_eq!(error, InferError::Undetermined { fields });
        for word in ["--config", "--set num_attention_heads=", "--set do_stable_layer_norm=true"] {
            assert!(error.to_string().contains(word), "{error}");
        }
        let given = ["num_attention_heads=4", "do_stable_layer_norm=false", "conv_stride=[4,3,2]"];
        for left_out in 0..3 {
            let some: Vec<&str> = (0..3).filter(|i| *i != left_out).map(|i| given[i]).collect();
            assert!(matches!(infer(&odd, &some), Err(InferError::Undetermined { fields }) if fields.len() == 1));
        }
        let inferred = infer(&odd, &given).unwrap();
        assert_eq!(inferred.config, odd);
        assert!(!inferred.assumptions.iter().any(|a| a.contains("heads") || a.contains("stride")), "{inferred:?}");

        // MERT-v1-330M and wav2vec2-large have the same shapes but a different order of norms.
        let ambiguous = Config {
            feat_extract_norm: FeatureExtractorNorm::Group,
            conv_bias: false,
            do_stable_layer_norm: false,
            ..large(1024)
        };
        let error = infer(&ambiguous, &[]).unwrap_err();
        assert_eq!(error, InferError::Undetermined { fields: vec!["do_stable_layer_norm"] });
        let pre_ln = infer(&ambiguous, &["do_stable_layer_norm=true"]).unwrap().config;
        assert_eq!(pre_ln, Config { do_stable_layer_norm: true, ..ambiguous });
        // A given value takes precedence over an assumption.
        assert_eq!(infer(&Config::default(), &["num_attention_heads=8"]).unwrap().config.num_attention_heads, 8);
    }

    #[test]
    fn heads_and_order_are_known_only_of_a_whole_published_shape() {
        let base = Config::default();
        for other in [
            Config { num_hidden_layers: 11, ..base.clone() },
            Config { intermediate_size: 2048, ..base.clone() },
            Config { conv_dim: vec![256; 7], ..base.clone() },
            Config { num_conv_pos_embeddings: 95, ..base.clone() },
            Config { num_conv_pos_embedding_groups: 8, ..base.clone() },
            Config { conv_bias: true, ..base.clone() },
            Config { feat_proj_layer_norm: false, ..base.clone() },
            Config { feat_extract_norm: FeatureExtractorNorm::Layer, ..base.clone() },
        ] {
            let error = infer(&other, &[]).unwrap_err();
            let fields = vec!["num_attention_heads", "do_stable_layer_norm"];
            assert_eq!(error, InferError::Undetermined { fields }, "{other:?}");
            assert_eq!(infer(&other, &["num_attention_heads=12", "do_stable_layer_norm=false"]).unwrap().config, other);
        }
        let given = infer(&base, &["num_attention_heads=7"]).unwrap_err();
        assert!(matches!(&given, InferError::Given { .. }) && given.to_string().starts_with("--set: "), "{given}");
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let mut tensors = shapes(&Config::default());
        tensors.remove("feature_projection.projection.weight");
        let error = infer_config(&tensors, &[]).unwrap_err();
        assert_eq!(error, InferError::Missing { name: "feature_projection.projection.weight".into() });
    }

    #[test]
    fn degenerate_shapes_are_errors() {
        let mut tensors = shapes(&Config::default());
        let given: Vec<ConfigField> =
            ["num_attention_heads=12", "do_stable_layer_norm=false"].map(|text| text.parse().unwrap()).into();
        tensors.insert(weight_norm::FUSED.into(), vec![768, 1000, 128]);
        assert!(infer_config(&tensors, &given).is_ok());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 0, 128]);
        assert!(matches!(infer_config(&tensors, &[]), Err(InferError::Rank { .. })));
        tensors.insert(weight_norm::FUSED.into(), vec![768, 500, 128]);
        assert!(infer_config(&tensors, &given).is_ok());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 150, 128]);
        assert!(matches!(infer_config(&tensors, &given), Err(InferError::Impossible { .. })));
    }
}
