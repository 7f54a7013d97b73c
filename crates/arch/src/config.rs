//! The architecture: the fields of a `config.json` that the forward pass depends on.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::json_from_text;
use crate::{Activation, ConfigField};

/// Where the feature extractor normalises (`feat_extract_norm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureExtractorNorm {
    /// GroupNorm with one channel per group, over time, after convolution 0 only.
    #[default]
    Group,
    /// LayerNorm over channels after every convolution.
    Layer,
}

/// The architecture: the fields of a MERT or HuBERT `config.json` that the forward pass depends on,
/// under their Hugging Face names and with transformers' `HubertConfig` defaults.
///
/// Fields that only matter in training (dropout, masking, losses) are ignored when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `mert_model` or `hubert`.
    pub model_type: String,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Transformer layers. There is one hidden state more than layers.
    pub num_hidden_layers: usize,
    /// Attention heads; `hidden_size` is a multiple of it.
    pub num_attention_heads: usize,
    /// Width of the feed-forward blocks.
    pub intermediate_size: usize,
    /// Activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// Epsilon of every LayerNorm whose weights are `layer_norm` or `final_layer_norm`, except those
    /// inside the feature extractor, which use [`Config::FEATURE_EXTRACTOR_NORM_EPS`].
    pub layer_norm_eps: f64,
    /// Output channels of each convolution of the feature extractor.
    pub conv_dim: Vec<usize>,
    /// Kernel of each convolution of the feature extractor, in its input's frames.
    pub conv_kernel: Vec<usize>,
    /// Stride of each convolution of the feature extractor, in its input's frames.
    pub conv_stride: Vec<usize>,
    /// Whether the convolutions of the feature extractor have a bias.
    pub conv_bias: bool,
    /// Where the feature extractor normalises.
    pub feat_extract_norm: FeatureExtractorNorm,
    /// Activation of the feature extractor and of the positional convolution.
    pub feat_extract_activation: Activation,
    /// Whether a LayerNorm precedes the projection to `hidden_size`.
    pub feat_proj_layer_norm: bool,
    /// Kernel of the positional convolution, in frames.
    pub num_conv_pos_embeddings: usize,
    /// Groups of the positional convolution.
    pub num_conv_pos_embedding_groups: usize,
    /// Pre-LN layers, with the encoder's LayerNorm after the last layer instead of before the first.
    pub do_stable_layer_norm: bool,
    /// MERT: residual branches are scaled by (2 · layers)^0.25 (DeepNorm, arXiv:2203.00555).
    pub deepnorm: bool,
    /// MERT: if positive, attention logits z become ((z / r) − max(z / r)) · r before the softmax.
    /// The same softmax, with less risk of overflow in float16.
    pub attention_relax: f64,
    /// Samples per second of the training audio, in hertz; not used by the forward pass. A converted model's input rate
    /// is that of its [`Preprocessor`](crate::Preprocessor).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            model_type: "hubert".into(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
            conv_dim: vec![512; 7],
            conv_kernel: vec![10, 3, 3, 3, 3, 2, 2],
            conv_stride: vec![5, 2, 2, 2, 2, 2, 2],
            conv_bias: false,
            feat_extract_norm: FeatureExtractorNorm::Group,
            feat_extract_activation: Activation::Gelu,
            feat_proj_layer_norm: true,
            num_conv_pos_embeddings: 128,
            num_conv_pos_embedding_groups: 16,
            do_stable_layer_norm: false,
            deepnorm: false,
            attention_relax: -1.0,
            sample_rate: None,
        }
    }
}

/// Fields that are read only to be refused when they ask for something else than their default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UnsupportedFields {
    /// MERT: a constant-Q transform beside the convolutions.
    feature_extractor_cqt: bool,
    /// HuBERT: BatchNorm instead of weight norm in the positional convolution.
    conv_pos_batch_norm: bool,
    /// wav2vec2: adapters inside the layers.
    adapter_attn_dim: Option<usize>,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The text is not a JSON object with fields of the expected types.
    #[error("no configuration can be read: {0}")]
    Syntax(String),
    /// A field has a value of another type.
    #[error("no configuration can be read: `{path}`: {reason}")]
    Type {
        /// The field, and the place within its value.
        path: String,
        /// The types found and expected.
        reason: String,
    },
    /// A field has a value that no model of the family can have.
    #[error("`{field}` is {found}, expected {expected}")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A field asks for a variant that is not supported.
    #[error("`{field}` is {found}, which is not supported: {reason}")]
    Unsupported {
        /// The field's name.
        field: &'static str,
        /// Its value.
        found: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
}

impl ConfigError {
    /// The field at fault; `None` if the text is not JSON.
    pub fn field(&self) -> Option<&str> {
        match self {
            ConfigError::Syntax(_) => None,
            ConfigError::Type { path, .. } => path.split(['.', '[']).next(),
            // conv_dim (its length)
            ConfigError::Invalid { field, .. } | ConfigError::Unsupported { field, .. } => field.split(' ').next(),
        }
    }
}

/// No published model comes near these; they keep products of sizes far from overflow.
const MAX_WIDTH: usize = 1 << 16;
const MAX_COUNT: usize = 1 << 10;

impl Config {
    /// Epsilon of the norms inside the feature extractor: PyTorch's default, not `layer_norm_eps`.
    pub const FEATURE_EXTRACTOR_NORM_EPS: f64 = 1e-5;

    /// MERT-v1-95M's architecture.
    pub fn mert_v1_95m() -> Self {
        Config { model_type: "mert_model".into(), sample_rate: Some(24_000), ..Config::default() }
    }

    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not a supported MERT or HuBERT configuration.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Config::from_json_with(text, &[])
    }

    /// Reads and validates a `config.json` after replacing these fields, whatever the file has in them.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not a supported MERT or HuBERT configuration.
    pub fn from_json_with(text: &str, fields: &[ConfigField]) -> Result<Self, ConfigError> {
        let mut value = value_from_json(text)?;
        if let Some(object) = value.as_object_mut() {
            object.extend(fields.iter().map(|field| (field.name.clone(), field.value.clone())));
        }
        // Every field has a default, so that without this any JSON at all would be HuBERT-base.
        if !value.get("model_type").is_some_and(serde_json::Value::is_string) {
            return Err(ConfigError::Invalid {
                field: "model_type",
                found: "missing".into(),
                expected: "`mert_model` or `hubert`; is this the model's config.json?".into(),
            });
        }
        let config: Config = parse(&value)?;
        parse::<UnsupportedFields>(&value)?.refuse()?;
        config.validate()?;
        Ok(config)
    }

    /// The fields as one line of JSON, under their `config.json` names and in a fixed order.
    pub fn to_json(&self) -> String {
        // A struct of numbers, strings and lists with string keys always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Checks every field that the forward pass depends on.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is impossible or unsupported.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.refuse_unsupported()?;

        let width = |field, value: usize| in_range(field, value, MAX_WIDTH);
        width("hidden_size", self.hidden_size)?;
        width("intermediate_size", self.intermediate_size)?;
        in_range("num_hidden_layers", self.num_hidden_layers, MAX_COUNT)?;
        in_range("num_attention_heads", self.num_attention_heads, MAX_COUNT)?;
        width("num_conv_pos_embeddings", self.num_conv_pos_embeddings)?;
        width("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups)?;
        divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        divides("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups, self.hidden_size)?;

        in_range("conv_dim (its length)", self.conv_dim.len(), MAX_COUNT)?;
        for (field, list) in
            [("conv_dim", &self.conv_dim), ("conv_kernel", &self.conv_kernel), ("conv_stride", &self.conv_stride)]
        {
            if list.len() != self.conv_dim.len() {
                return Err(ConfigError::Invalid {
                    field,
                    found: format!("{} values long", list.len()),
                    expected: format!("as many values as conv_dim has ({})", self.conv_dim.len()),
                });
            }
            for &value in list {
                width(field, value)?;
            }
        }
        let within = |product: Option<usize>| product.filter(|&p| p <= 1 << 32);
        if self.conv_stride.iter().try_fold(1usize, |hop, &s| within(hop.checked_mul(s))).is_none() {
            return Err(ConfigError::Invalid {
                field: "conv_stride",
                found: format!("{:?}", self.conv_stride),
                expected: "strides with a product of at most 2^32 samples".into(),
            });
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0) {
            return Err(ConfigError::Invalid {
                field: "layer_norm_eps",
                found: self.layer_norm_eps.to_string(),
                expected: "a positive number".into(),
            });
        }
        if let Some(rate) = self.sample_rate {
            check_sample_rate("sample_rate", rate)?;
        }
        if !self.attention_relax.is_finite() {
            return Err(ConfigError::Invalid {
                field: "attention_relax",
                found: self.attention_relax.to_string(),
                expected: "a finite number (positive to turn it on)".into(),
            });
        }
        Ok(())
    }

    fn refuse_unsupported(&self) -> Result<(), ConfigError> {
        if !matches!(self.model_type.as_str(), "mert_model" | "hubert") {
            return unsupported(
                "model_type",
                format!("`{}`", self.model_type),
                "only `mert_model` and `hubert` are; other encoders differ in names or arithmetic",
            );
        }
        if self.deepnorm && self.do_stable_layer_norm {
            return unsupported(
                "deepnorm",
                "true together with do_stable_layer_norm".into(),
                "DeepNorm is defined for post-LN layers only; MERT's own code refuses the pair as well",
            );
        }
        Ok(())
    }

    /// Hidden states that the model returns: one before the first layer and one after each.
    pub fn num_hidden_states(&self) -> usize {
        self.num_hidden_layers + 1
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Channels that leave the feature extractor.
    pub fn feature_size(&self) -> usize {
        self.conv_dim.last().copied().unwrap_or(0)
    }

    /// Factor on the residual branch: (2 · layers)^0.25 with `deepnorm`, else 1.
    pub fn residual_scale(&self) -> f64 {
        if self.deepnorm { (2.0 * self.num_hidden_layers as f64).powf(0.25) } else { 1.0 }
    }

    /// Frames that `samples` input samples give: floor((n − k) / s) + 1 for each convolution in turn,
    /// or `None` if some kernel does not fit.
    pub fn frames(&self, samples: usize) -> Option<usize> {
        self.conv_kernel
            .iter()
            .zip(&self.conv_stride)
            .try_fold(samples, |n, (&kernel, &stride)| Some(n.checked_sub(kernel)? / stride + 1))
    }

    /// Samples between two frames.
    pub fn hop(&self) -> usize {
        self.conv_stride.iter().product()
    }

    /// Samples that one frame sees: the shortest legal input.
    pub fn receptive_field(&self) -> usize {
        self.conv_kernel.iter().zip(&self.conv_stride).rev().fold(1, |n, (&kernel, &stride)| (n - 1) * stride + kernel)
    }
}

pub(crate) fn value_from_json(text: &str) -> Result<serde_json::Value, ConfigError> {
    json_from_text(text).map_err(|e| ConfigError::Syntax(e.to_string()))
}

/// Checks that audio can have this rate.
pub(crate) fn check_sample_rate(field: &'static str, rate: u32) -> Result<(), ConfigError> {
    if (1_000..=384_000).contains(&rate) {
        return Ok(());
    }
    let (found, expected) = (rate.to_string(), "a rate from 1000 to 384000 hertz".to_string());
    Err(ConfigError::Invalid { field, found, expected })
}

/// Names the field that is at fault.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(value: &serde_json::Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value)
        .map_err(|e| ConfigError::Type { path: e.path().to_string(), reason: e.inner().to_string() })
}

impl UnsupportedFields {
    fn refuse(&self) -> Result<(), ConfigError> {
        if self.feature_extractor_cqt {
            return unsupported(
                "feature_extractor_cqt",
                "true".into(),
                "the model adds a constant-Q transform of the audio to its input features, which is a front end of \
                 its own and not part of this encoder; use a MERT trained without it (v1-95M, v1-330M, v0)",
            );
        }
        if self.conv_pos_batch_norm {
            return unsupported(
                "conv_pos_batch_norm",
                "true".into(),
                "the positional convolution then has a BatchNorm instead of weight norm",
            );
        }
        if self.adapter_attn_dim.is_some() {
            return unsupported(
                "adapter_attn_dim",
                "set".into(),
                "attention adapters belong to fine-tuned wav2vec2 models",
            );
        }
        Ok(())
    }
}

pub(crate) fn unsupported(field: &'static str, found: String, reason: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError::Unsupported { field, found, reason })
}

fn in_range(field: &'static str, value: usize, max: usize) -> Result<(), ConfigError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Invalid { field, found: value.to_string(), expected: format!("a number from 1 to {max}") })
}

fn divides(field: &'static str, value: usize, hidden_size: usize) -> Result<(), ConfigError> {
    if hidden_size.is_multiple_of(value) {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        field,
        found: value.to_string(),
        expected: format!("a divisor of hidden_size ({hidden_size})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_counts_of_the_published_model() {
        let config = Config::mert_v1_95m();
        assert_eq!(config.hop(), 320);
        assert_eq!(config.receptive_field(), 400);
        assert_eq!(config.frames(400), Some(1));
        assert_eq!(config.frames(399), None);
        assert_eq!(config.frames(120_000), Some(374));
        assert_eq!(config.frames(720_000), Some(2249));
    }

    #[test]
    fn unknown_fields_are_ignored_and_defaults_are_transformers() {
        let config = Config::from_json(r#"{"model_type": "hubert", "mask_time_prob": 0.05}"#).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn json_round_trip_keeps_every_field() {
        let config = Config {
            do_stable_layer_norm: true,
            conv_bias: true,
            feat_extract_norm: FeatureExtractorNorm::Layer,
            attention_relax: 32.0,
            hidden_act: Activation::GeluTanh,
            ..Config::mert_v1_95m()
        };
        assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn a_set_field_replaces_what_cannot_be_read() {
        let set = |text: &str, field: &str| Config::from_json_with(text, &[field.parse().unwrap()]);
        for text in
            [r#"{"model_type": "hubert", "hidden_act": null}"#, r#"{"model_type": "hubert", "hidden_act": NaN}"#]
        {
            assert_eq!(Config::from_json(text).unwrap_err().field(), Some("hidden_act"), "{text}");
            assert_eq!(set(text, "hidden_act=gelu").unwrap(), Config::default());
        }
        assert_eq!(set("{}", "model_type=hubert").unwrap(), Config::default());
        let hubert = r#"{"model_type": "hubert", "unused": [Infinity]}"#;
        for field in ["num_attention_heads=7", "conv_stride=[5,x]", "conv_dim=[]", "model_type=wavlm"] {
            assert_eq!(set(hubert, field).unwrap_err().field(), field.split('=').next());
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, field) in [
            (r#"{"feature_extractor_cqt": true}"#, "feature_extractor_cqt"),
            (r#"{"conv_pos_batch_norm": true}"#, "conv_pos_batch_norm"),
            (r#"{"adapter_attn_dim": 16}"#, "adapter_attn_dim"),
            (r#"{"deepnorm": true, "do_stable_layer_norm": true}"#, "deepnorm"),
            (r#"{"model_type": "bert"}"#, "model_type"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"num_attention_heads": 0}"#, "num_attention_heads"),
            (r#"{"num_conv_pos_embedding_groups": 5}"#, "num_conv_pos_embedding_groups"),
            (r#"{"conv_kernel": [10, 3]}"#, "conv_kernel"),
            (r#"{"conv_dim": []}"#, "conv_dim"),
            (r#"{"conv_stride": [5, 2, 2, 0, 2, 2, 2]}"#, "conv_stride"),
            (r#"{"conv_stride": [60000, 60000, 60000, 1, 1, 1, 1]}"#, "conv_stride"),
            (r#"{"layer_norm_eps": 0.0}"#, "layer_norm_eps"),
            (r#"{"hidden_size": 18446744073709551615}"#, "hidden_size"),
            (r#"{"hidden_act": "swish"}"#, "swish"),
            (r#"{"sample_rate": 4294967295}"#, "sample_rate"),
            (r#"{"hidden_size": 768.5}"#, "hidden_size"),
            (r#"{"conv_dim": null}"#, "conv_dim"),
        ] {
            let mut value = serde_json::json!({ "model_type": "hubert" });
            let fields: serde_json::Value = serde_json::from_str(json).unwrap();
            value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let error = Config::from_json(&value.to_string()).unwrap_err().to_string();
            assert!(error.contains(field), "{json}: {error}");
        }
        for json in ["{}", "[]", "null", "{\"hidden_size\": 768}", "{\"model_type\": 3}"] {
            assert!(Config::from_json(json).unwrap_err().to_string().contains("model_type"), "{json}");
        }
        assert!(Config::from_json("{").unwrap_err().to_string().contains("can be read"));
    }
}
