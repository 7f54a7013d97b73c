use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Config, FeatureExtractorNorm, weight_norm};

/// A configuration worked out from a checkpoint's tensors alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// The configuration.
    pub config: Config,
    /// What the tensors do not tell, and the value that was assumed: one sentence each.
    pub assumptions: Vec<String>,
}

/// Why no configuration could be worked out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InferError {
    /// A tensor that every model of the family has is not there.
    #[error("the architecture cannot be worked out without tensor `{name}`; give the model's config.json")]
    Missing {
        /// The tensor's name.
        name: String,
    },
    /// A tensor has another rank than in every model of the family.
    #[error("the architecture cannot be worked out: tensor `{name}` has shape {found:?}, expected {rank} dimensions")]
    Rank {
        /// The tensor's name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The rank it should have.
        rank: usize,
    },
    /// The shapes contradict each other.
    #[error("the architecture worked out from the tensors is impossible ({reason}); give the model's config.json")]
    Impossible {
        /// What contradicts what.
        reason: String,
    },
}

/// Works out the configuration from tensor names and PyTorch-order shapes (prefix removed).
///
/// Shapes tell every size, which norms and biases exist, and the positional convolution's groups.
/// They do not tell strides, head count, pre- or post-LN, DeepNorm, activations or epsilons: for
/// these the family's usual values are assumed, and [`Inferred::assumptions`] says so.
///
/// # Errors
/// [`InferError`] if a tensor that the sizes depend on is missing or malformed.
pub fn infer_config(tensors: &BTreeMap<String, Vec<usize>>) -> Result<Inferred, InferError> {
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
    let head_dim = 64;
    let num_attention_heads = if hidden_size.is_multiple_of(head_dim) { hidden_size / head_dim } else { 1 };
    let usual = Config::default();
    let conv_stride =
        if conv_kernel == usual.conv_kernel { usual.conv_stride.clone() } else { vec![2; conv_kernel.len()] };

    let config = Config {
        model_type: "hubert".into(),
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size,
        conv_stride,
        conv_bias: has("feature_extractor.conv_layers.0.conv.bias"),
        feat_extract_norm: if norm_after_every_conv {
            FeatureExtractorNorm::Layer
        } else {
            FeatureExtractorNorm::Group
        },
        feat_proj_layer_norm: has("feature_projection.layer_norm.weight"),
        num_conv_pos_embeddings: positional[2],
        num_conv_pos_embedding_groups: hidden_size / positional[1].min(hidden_size),
        do_stable_layer_norm: norm_after_every_conv,
        conv_dim,
        conv_kernel,
        ..usual
    };
    config.validate().map_err(|error| InferError::Impossible { reason: error.to_string() })?;

    let assumptions = vec![
        format!("num_attention_heads = {num_attention_heads} (heads of {} values)", config.head_dim()),
        format!("conv_stride = {:?}", config.conv_stride),
        format!(
            "do_stable_layer_norm = {} (as the published models with feat_extract_norm = {} have it)",
            config.do_stable_layer_norm,
            if norm_after_every_conv { "layer" } else { "group" },
        ),
        "deepnorm = false, attention_relax off".into(),
        "hidden_act = feat_extract_activation = gelu".into(),
        format!("layer_norm_eps = {:e}", config.layer_norm_eps),
    ];
    Ok(Inferred { config, assumptions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory;

    fn shapes(config: &Config) -> BTreeMap<String, Vec<usize>> {
        inventory(config).into_iter().map(|t| (t.name, t.shape)).collect()
    }

    #[test]
    fn the_published_sizes_are_recovered() {
        for config in [
            Config::default(),
            Config { hidden_size: 1024, num_attention_heads: 16, num_hidden_layers: 24, ..Config::default() },
            Config {
                feat_extract_norm: FeatureExtractorNorm::Layer,
                do_stable_layer_norm: true,
                conv_bias: true,
                feat_proj_layer_norm: false,
                ..Config::default()
            },
        ] {
            let inferred = infer_config(&shapes(&config)).unwrap();
            assert_eq!(inferred.config, config);
            assert!(inferred.assumptions.iter().any(|a| a.contains("num_attention_heads")));
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let mut tensors = shapes(&Config::default());
        tensors.remove("feature_projection.projection.weight");
        let error = infer_config(&tensors).unwrap_err();
        assert_eq!(error, InferError::Missing { name: "feature_projection.projection.weight".into() });
    }

    #[test]
    fn degenerate_shapes_are_errors() {
        let mut tensors = shapes(&Config::default());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 1000, 128]);
        assert!(infer_config(&tensors).is_ok());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 0, 128]);
        assert!(matches!(infer_config(&tensors), Err(InferError::Rank { .. })));
        tensors.insert(weight_norm::FUSED.into(), vec![768, 500, 128]);
        assert!(infer_config(&tensors).is_ok());
        tensors.insert(weight_norm::FUSED.into(), vec![768, 150, 128]);
        assert!(matches!(infer_config(&tensors), Err(InferError::Impossible { .. })));
    }
}
