//! Reading and writing a `config.json`, with single fields replaced.

use serde::Deserialize;
use serde_json::Value;

use super::architecture::Config;
use super::error::ConfigError;
use super::field::ConfigField;
use crate::ModelConfig;
use crate::families::{UnsupportedFields, refuse_fields, supported_family};
use crate::text::json_from_text;

impl Config {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not a configuration of a supported family.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Config::from_json_with(text, &[])
    }

    /// Reads and validates a `config.json` after replacing these fields, which the file need not have.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not a configuration of a supported family.
    pub fn from_json_with(text: &str, fields: &[ConfigField]) -> Result<Self, ConfigError> {
        let mut value = value_from_json(text)?;
        if let Some(object) = value.as_object_mut() {
            object.extend(fields.iter().map(|field| (field.name.clone(), field.value.clone())));
        }
        // Every other field has a default, so that any JSON object would be a model without this check.
        let Some(model_type) = value.get("model_type").and_then(Value::as_str) else {
            let expected = "a family such as `mert_model` or `hubert`; is this the model's config.json?";
            return Err(ConfigError::invalid("model_type", "missing", expected));
        };
        let model = supported_family(model_type)?.read(&value)?;
        refuse_fields(&parse::<UnsupportedFields>(&value)?, &model)?;
        let read: Config = parse(&with_defaults(&model, value))?;
        let mut config = read.clone();
        model.family().fix_fields(&mut config);
        refuse_without_effect(fields, &read, &config)?;
        config.validate()?;
        Ok(config)
    }

    /// Writes the fields as one line of JSON, under their `config.json` names and in a fixed order.
    pub fn to_json(&self) -> String {
        // A struct of numbers, strings and lists with string keys always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the configuration with these fields replaced, validated.
    ///
    /// # Errors
    /// [`ConfigError`] for an invalid value.
    pub fn with_fields(&self, fields: &[ConfigField]) -> Result<Config, ConfigError> {
        Config::from_json_with(&self.to_json(), fields)
    }
}

/// The fields of a configuration file, with those of the family's class in transformers where it has none: transformers
/// writes only the fields that differ from its class.
fn with_defaults(model: &ModelConfig, fields: Value) -> Value {
    // A struct of numbers, strings and lists with string keys always serialises.
    let mut all = serde_json::to_value(model.default_config()).unwrap_or_default();
    if let (Some(all), Value::Object(fields)) = (all.as_object_mut(), fields) {
        all.extend(fields);
    }
    all
}

/// Refuses set fields that the family of `config` does not have, or has with a fixed value. `read` is the configuration with
/// the fields as set.
fn refuse_without_effect(fields: &[ConfigField], read: &Config, config: &Config) -> Result<(), ConfigError> {
    let json = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (read, fixed) = (json(read), json(config));
    let model_type = config.family().model_type;
    for field in fields {
        let name = field.name.as_str();
        // Written only if it is true.
        let is_unwritten = name == "conv_pos_batch_norm" && matches!(config.model, ModelConfig::Hubert(_));
        let reason = match (read.get(name), fixed.get(name)) {
            (None, None) if !is_unwritten => format!("`{model_type}` has no such field"),
            (read, fixed) if read != fixed => {
                format!("`{model_type}` has no such field and computes as if it was {}", fixed.unwrap_or(&Value::Null))
            }
            _ => continue,
        };
        return Err(ConfigError::Type { path: field.name.clone(), reason });
    }
    Ok(())
}

/// Parses the JSON of a configuration file.
pub(crate) fn value_from_json(text: &str) -> Result<Value, ConfigError> {
    json_from_text(text).map_err(|e| ConfigError::Syntax(e.to_string()))
}

/// Deserialises a configuration file, with an error that names the field.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value)
        .map_err(|e| ConfigError::Type { path: e.path().to_string(), reason: e.inner().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, FeatureExtractorNorm};

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
    fn a_set_field_replaces_an_invalid_one() {
        let set = |text: &str, field: &str| Config::from_json_with(text, &[field.parse().unwrap()]);
        for text in
            [r#"{"model_type": "hubert", "hidden_act": null}"#, r#"{"model_type": "hubert", "hidden_act": NaN}"#]
        {
            assert_eq!(Config::from_json(text).unwrap_err().field(), Some("hidden_act"), "{text}");
            assert_eq!(set(text, "hidden_act=gelu").unwrap(), Config::default());
        }
        assert_eq!(set("{}", "model_type=hubert").unwrap(), Config::default());
        let hubert = r#"{"model_type": "hubert", "unused": [Infinity]}"#;
        assert!(set(hubert, "conv_pos_batch_norm=false").is_ok());
        for (model_type, field) in [("hubert", "num_buckets=8"), ("wav2vec2", "feat_proj_layer_norm=false")] {
            let error = set(&format!("{{\"model_type\": \"{model_type}\"}}"), field).unwrap_err();
            assert!(error.to_string().contains(model_type), "{error}");
        }
        for field in ["num_attention_heads=7", "conv_stride=[5,x]", "conv_dim=[]", "model_type=bert"] {
            assert_eq!(set(hubert, field).unwrap_err().field(), field.split('=').next());
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, field) in [
            (r#"{"feature_extractor_cqt": true}"#, "feature_extractor_cqt"),
            (r#"{"model_type": "wav2vec2", "conv_pos_batch_norm": true}"#, "conv_pos_batch_norm"),
            (r#"{"model_type": "wav2vec2", "add_adapter": true}"#, "add_adapter"),
            (r#"{"model_type": "wav2vec2-conformer"}"#, "Conformer"),
            (r#"{"model_type": "wavlm", "num_buckets": 3}"#, "num_buckets"),
            (r#"{"model_type": "wavlm", "max_bucket_distance": 80}"#, "max_bucket_distance"),
            (r#"{"model_type": "wavlm", "num_buckets": "x"}"#, "num_buckets"),
            (r#"{"model_type": "data2vec-audio", "conv_pos_kernel_size": 0}"#, "conv_pos_kernel_size"),
            (r#"{"deepnorm": true}"#, "deepnorm"),
            (r#"{"adapter_attn_dim": 16}"#, "adapter_attn_dim"),
            (r#"{"model_type": "mert_model", "deepnorm": true, "do_stable_layer_norm": true}"#, "deepnorm"),
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
        assert!(Config::from_json("{").unwrap_err().to_string().contains("invalid configuration"));
    }
}
