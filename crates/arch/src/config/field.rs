//! Single configuration fields that a user sets by name, overriding a `config.json` or replacing a missing one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::architecture::Config;
use crate::{HubertConfig, ModelConfig};

/// A field of [`Config`] with a value, parsed from text such as `num_attention_heads=4`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigField {
    /// The name of the field in `config.json`.
    pub name: String,
    /// The value as JSON.
    pub value: Value,
}

impl FromStr for ConfigField {
    type Err = String;

    /// Parses `FIELD=VALUE`. The value is read as JSON or, if it is not JSON, as a string: `hidden_act=gelu` needs no
    /// quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("invalid field `{text}`: expected FIELD=VALUE, such as num_attention_heads=12"))?;
        let known = names();
        if !known.iter().any(|known| known == name) {
            return Err(format!("unknown field `{name}`: expected one of {}", known.join(", ")));
        }
        if name == "sample_rate" {
            return Err("unsupported field `sample_rate`: use --sampling-rate".into());
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        Ok(ConfigField { name: name.into(), value })
    }
}

impl fmt::Display for ConfigField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::String(text) => write!(f, "{}={text}", self.name),
            value => write!(f, "{}={value}", self.name),
        }
    }
}

/// The names of all fields of [`Config`] in any family.
fn names() -> Vec<String> {
    let batch_norm = HubertConfig { conv_pos_batch_norm: true };
    let configs = ModelConfig::all().map(|family| family.default_config()).into_iter();
    let all =
        configs.chain([Config::mert_v1_95m(), Config { model: ModelConfig::Hubert(batch_norm), ..Config::default() }]);
    let names: BTreeSet<String> = all.flat_map(|config| field_names(&config)).collect();
    names.into_iter().collect()
}

/// The names of the fields that a configuration has.
pub(super) fn field_names(config: &Config) -> Vec<String> {
    let fields = serde_json::to_value(config).unwrap_or_default();
    fields.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> Result<Config, String> {
        let fields: Vec<ConfigField> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Config::default().with_fields(&fields).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_set_by_name() {
        let config =
            set(&["num_attention_heads=4", "do_stable_layer_norm=true", "conv_stride=[5,2,2,2,2,2,1]"]).unwrap();
        assert_eq!((config.num_attention_heads, config.do_stable_layer_norm), (4, true));
        assert_eq!(config.conv_stride, [5, 2, 2, 2, 2, 2, 1]);
        assert_eq!(set(&["hidden_act=relu"]).unwrap().hidden_act, crate::Activation::Relu);
        assert_eq!(set(&["model_type=mert_model"]).unwrap().model, ModelConfig::Mert);
        assert_eq!("hidden_act=relu".parse::<ConfigField>().unwrap().to_string(), "hidden_act=relu");
    }

    #[test]
    fn invalid_fields_are_refused() {
        for (text, word) in [
            ("num_attention_heads", "FIELD=VALUE"),
            ("heads=4", "num_attention_heads"),
            ("sample_rate=16000", "--sampling-rate"),
            ("num_attention_heads=7", "num_attention_heads"),
            ("num_attention_heads=four", "num_attention_heads"),
            ("do_stable_layer_norm=yes", "do_stable_layer_norm"),
            ("model_type=bert", "bert"),
        ] {
            assert!(set(&[text]).unwrap_err().contains(word), "{text}: {}", set(&[text]).unwrap_err());
        }
    }
}
