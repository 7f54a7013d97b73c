//! Reading and writing a `config.json`, with single fields replaced.

use serde::Deserialize;
use serde_json::Value;

use super::architecture::Config;
use super::error::ConfigError;
use super::field::ConfigField;
use super::validate::UnsupportedFields;
use crate::text::json_from_text;

impl Config {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not a supported MERT or HuBERT configuration.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Config::from_json_with(text, &[])
    }

    /// Reads and validates a `config.json` after replacing these fields, which the file need not have.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not a supported MERT or HuBERT configuration.
    pub fn from_json_with(text: &str, fields: &[ConfigField]) -> Result<Self, ConfigError> {
        let mut value = value_from_json(text)?;
        if let Some(object) = value.as_object_mut() {
            object.extend(fields.iter().map(|field| (field.name.clone(), field.value.clone())));
        }
        // Every field has a default, so that any other JSON object would be a HuBERT base without this check.
        if !value.get("model_type").is_some_and(serde_json::Value::is_string) {
            let expected = "`mert_model` or `hubert`; is this the model's config.json?";
            return Err(ConfigError::invalid("model_type", "missing", expected));
        }
        let config: Config = parse(&value)?;
        parse::<UnsupportedFields>(&value)?.refuse()?;
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
        assert!(Config::from_json("{").unwrap_err().to_string().contains("invalid configuration"));
    }
}
