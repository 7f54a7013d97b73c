//! The inference of the configuration from tensor shapes, for checkpoints without a `config.json`.

mod published;

use std::collections::BTreeMap;

use thiserror::Error;

use self::published::Published;
use crate::{
    Config, ConfigField, Data2VecAudioConfig, FeatureExtractorNorm, ModelConfig, WavLmConfig, families_of_tensors,
    weight_norm,
};

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

/// The options that give the fields, for an error message.
fn options(fields: &[&'static str]) -> String {
    let example = |field: &&str| match *field {
        "do_stable_layer_norm" => "--set do_stable_layer_norm=true (pre-LN) or false (post-LN)".to_string(),
        field => format!("--set {field}=…"),
    };
    fields.iter().map(example).collect::<Vec<_>>().join(" and ")
}

/// Infers the configuration from tensor names and PyTorch-order shapes (prefix removed). `prefix` is the prefix that they had,
/// which may name the family; `given` are known fields.
///
/// Shapes determine every size, which norms and biases exist, and the groups of the positional convolution. WavLM, data2vec
/// and HuBERT's BatchNorm have tensors of their own; the other families differ in nothing that a hidden state depends on.
/// Shapes do not determine strides, head count (but WavLM's), pre- or post-LN, DeepNorm, activations or epsilons: for these
/// the values of published models with such shapes are assumed and listed in [`InferredConfig::assumptions`].
///
/// # Errors
/// [`InferError`] if a tensor that the sizes depend on is missing or malformed, or if no published model has such
/// shapes and `given` lacks a field that they do not determine.
pub fn infer_config(
    tensors: &BTreeMap<String, Vec<usize>>,
    prefix: &str,
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
    let is_given = |field: &str| given.iter().any(|given| given.name == field);
    let families = families_of_tensors(tensors, prefix);
    let model = families.first().copied().unwrap_or(ModelConfig::Hubert(Default::default()));
    let stack = |i: usize| format!("encoder.pos_conv_embed.layers.{i}.conv.weight");
    let positional_name = match model {
        ModelConfig::Data2VecAudio(_) => stack(0),
        _ => [weight_norm::FUSED, weight_norm::SPELLINGS[0].v, weight_norm::SPELLINGS[1].v]
            .into_iter()
            .find(|name| has(name))
            .unwrap_or(weight_norm::SPELLINGS[0].v)
            .to_string(),
    };
    let positional = shape(&positional_name, 3)?;
    let mut num_conv_pos_embeddings = positional[2];
    let mut shown_heads = None;
    let model = match model {
        ModelConfig::Data2VecAudio(_) => {
            num_conv_pos_embeddings = (0..).take_while(|&i| has(&stack(i))).count();
            ModelConfig::Data2VecAudio(Data2VecAudioConfig { conv_pos_kernel_size: positional[2] })
        }
        ModelConfig::WavLm(usual) => {
            let table = shape("encoder.layers.0.attention.rel_attn_embed.weight", 2)?;
            shown_heads = Some(table[1]);
            ModelConfig::WavLm(WavLmConfig { num_buckets: table[0], ..usual })
        }
        other => other,
    };
    let intermediate_size = shape("encoder.layers.0.feed_forward.intermediate_dense.weight", 2)?[0];
    let num_hidden_layers =
        (0..).take_while(|i| has(&format!("encoder.layers.{i}.feed_forward.intermediate_dense.weight"))).count();

    let norm_after_every_conv = conv_dim.len() > 1 && has("feature_extractor.conv_layers.1.layer_norm.weight");
    let usual = model.default_config();
    let conv_stride = (conv_kernel == usual.conv_kernel).then(|| usual.conv_stride.clone());
    let has_strides = conv_stride.is_some();

    let config = Config {
        model,
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
        num_conv_pos_embeddings,
        num_conv_pos_embedding_groups: hidden_size / positional[1].min(hidden_size),
        do_stable_layer_norm: false,
        conv_dim,
        conv_kernel,
        ..usual
    };
    let published = Published::of_shapes(&config);
    let heads = shown_heads.or(published.map(|published| published.num_attention_heads));
    let is_post_norm = matches!(model, ModelConfig::Data2VecAudio(_)).then_some(false);
    let order = is_post_norm.or(published.and_then(|published| published.do_stable_layer_norm));
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
        ("model_type", model_type_assumption(&families)),
        match shown_heads {
            Some(_) => ("", String::new()),
            None => ("num_attention_heads", format!("num_attention_heads = {} ({like})", config.num_attention_heads)),
        },
        match config.position_bias() {
            Some(bias) => ("max_bucket_distance", format!("max_bucket_distance = {}", bias.max_distance)),
            None => ("", String::new()),
        },
        ("conv_stride", format!("conv_stride = {:?}", config.conv_stride)),
        match is_post_norm {
            Some(_) => ("", String::new()),
            None => {
                ("do_stable_layer_norm", format!("do_stable_layer_norm = {} ({like})", config.do_stable_layer_norm))
            }
        },
        ("deepnorm", "deepnorm = false".into()),
        ("attention_relax", "attention_relax off".into()),
        ("hidden_act", "hidden_act = gelu".into()),
        ("feat_extract_activation", "feat_extract_activation = gelu".into()),
        ("layer_norm_eps", format!("layer_norm_eps = {:e}", config.layer_norm_eps)),
    ];
    let assumptions = assumptions
        .into_iter()
        .filter(|(field, text)| !text.is_empty() && !is_given(field))
        .map(|(_, text)| text)
        .collect();
    Ok(InferredConfig { config, assumptions })
}

/// The assumption about the family; empty if the tensors or their prefix determine it.
fn model_type_assumption(families: &[ModelConfig]) -> String {
    match families {
        [] | [_] => String::new(),
        [first, others @ ..] => {
            let others: Vec<&str> = others.iter().map(|family| family.names().title).collect();
            format!("model_type = {} (the same tensors: {})", first.names().model_type, others.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HubertConfig, inventory};

    fn shapes(config: &Config) -> BTreeMap<String, Vec<usize>> {
        inventory(config).into_iter().map(|t| (t.name, t.shape)).collect()
    }

    fn infer(config: &Config, given: &[&str]) -> Result<InferredConfig, InferError> {
        let given: Vec<ConfigField> = given.iter().map(|text| text.parse().unwrap()).collect();
        infer_config(&shapes(config), "", &given)
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
    fn tensors_of_one_family_determine_it() {
        let wavlm = ModelConfig::WavLm(WavLmConfig::default());
        let large = Config { conv_bias: false, model: wavlm, ..large(1024) };
        let data2vec = ModelConfig::Data2VecAudio(Data2VecAudioConfig::default()).default_config();
        for (config, told) in [
            (wavlm.default_config(), "max_bucket_distance"),
            (large, "max_bucket_distance"),
            (data2vec, "num_attention_heads"),
        ] {
            let inferred = infer(&config, &[]).unwrap();
            assert_eq!(inferred.config, config);
            assert!(inferred.assumptions.iter().any(|text| text.contains(told)), "{:?}", inferred.assumptions);
            assert!(!inferred.assumptions.iter().any(|text| text.contains("model_type")), "{:?}", inferred.assumptions);
        }
        // WavLM's tensors show the number of heads and of buckets, whatever they are.
        let model = ModelConfig::WavLm(WavLmConfig { num_buckets: 16, max_bucket_distance: 800 });
        let small = Config { model, hidden_size: 48, num_attention_heads: 4, ..Config::default() };
        let error = infer(&small, &[]).unwrap_err();
        assert_eq!(error, InferError::Undetermined { fields: vec!["do_stable_layer_norm"] });
        assert_eq!(infer(&small, &["do_stable_layer_norm=false"]).unwrap().config, small);
        // The order of data2vec's norms is always the same; the heads do not show.
        let model = ModelConfig::Data2VecAudio(Data2VecAudioConfig { conv_pos_kernel_size: 7 });
        let small =
            Config { hidden_size: 48, num_attention_heads: 4, num_conv_pos_embeddings: 3, ..model.default_config() };
        let error = infer(&small, &[]).unwrap_err();
        assert_eq!(error, InferError::Undetermined { fields: vec!["num_attention_heads"] });
        assert_eq!(infer(&small, &["num_attention_heads=4"]).unwrap().config, small);
        let model = ModelConfig::Hubert(HubertConfig { conv_pos_batch_norm: true });
        let batch_norm = Config { model, ..Config::default() };
        let fields = vec!["num_attention_heads", "do_stable_layer_norm"];
        assert_eq!(infer(&batch_norm, &[]).unwrap_err(), InferError::Undetermined { fields });
    }

    #[test]
    fn the_prefix_names_the_family_of_tensors_that_several_have() {
        let shapes = shapes(&Config::default());
        for (prefix, model_type) in [
            ("", "hubert"),
            ("wav2vec2.", "wav2vec2"),
            ("model.unispeech_sat.", "unispeech-sat"),
            ("encoder.", "hubert"),
        ] {
            let inferred = infer_config(&shapes, prefix, &[]).unwrap();
            assert_eq!(inferred.config.family().model_type, model_type, "{prefix}");
            let is_assumed = inferred.assumptions.iter().any(|text| text.contains("model_type"));
            assert_eq!(is_assumed, model_type == "hubert", "{prefix}: {:?}", inferred.assumptions);
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
        let error = infer_config(&tensors, "", &[]).unwrap_err();
        assert_eq!(error, InferError::Missing { name: "feature_projection.projection.weight".into() });
    }

    #[test]
    fn degenerate_shapes_are_errors() {
        let mut tensors = shapes(&Config::default());
        let given: Vec<ConfigField> =
            ["num_attention_heads=12", "do_stable_layer_norm=false"].map(|text| text.parse().unwrap()).into();
        tensors.insert(weight_norm::FUSED.into(), vec![768, 1000, 128]);
        assert!(infer_config(&tensors, "", &given).is_ok());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 0, 128]);
        assert!(matches!(infer_config(&tensors, "", &[]), Err(InferError::Rank { .. })));
        tensors.insert(weight_norm::FUSED.into(), vec![768, 500, 128]);
        assert!(infer_config(&tensors, "", &given).is_ok());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 150, 128]);
        assert!(matches!(infer_config(&tensors, "", &given), Err(InferError::Impossible { .. })));
    }
}
