//! The field `quantization` of a `config.json`, as mlx-lm writes and `mlx.nn.quantize` reads it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Quantization, QuantizationMode};

/// The quantization of a model's linear layers: a default, and the layers that differ from it.
///
/// The JSON is that of [mlx-lm](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/utils.py): `group_size`, `bits` and
/// `mode` of the default, and under the path of a module its own three, or `false` for a layer that is not quantized.
///
/// ```
/// use mert_arch::QuantizationConfig;
///
/// let json = r#"{"group_size": 64, "bits": 4, "mode": "affine",
///     "encoder.layers.0.attention.q_proj": {"group_size": 32, "bits": 8}, "feature_projection.projection": false}"#;
/// let config = QuantizationConfig::from_json(json)?;
/// assert_eq!(config.layer("encoder.layers.0.attention.q_proj").unwrap().bits, 8);
/// assert_eq!(config.layer("encoder.layers.1.attention.q_proj").unwrap().bits, 4);
/// assert_eq!(config.layer("feature_projection.projection"), None);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationConfig {
    /// The quantization of the linear layers that `layers` does not name.
    pub default: Quantization,
    /// The quantization of single layers, by the path of the module; `None` for one that is not quantized.
    pub layers: BTreeMap<String, Option<Quantization>>,
}

/// The fields of the default, which no module can be named after.
const FIELDS: [&str; 3] = ["bits", "group_size", "mode"];

impl QuantizationConfig {
    /// The quantization of the linear layer at this path; `None` if it is not quantized.
    pub fn layer(&self, module: &str) -> Option<Quantization> {
        self.layers.get(module).copied().unwrap_or(Some(self.default))
    }

    /// The field's value.
    pub fn to_value(&self) -> Value {
        let mut fields = to_fields(self.default);
        let own = |layer: &Option<Quantization>| match layer {
            Some(quantization) => Value::Object(to_fields(*quantization)),
            None => json!(false),
        };
        fields.extend(self.layers.iter().map(|(module, layer)| (module.clone(), own(layer))));
        Value::Object(fields)
    }

    /// The field's value as text in one line, sorted by name.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    /// Reads the field's value from text.
    ///
    /// # Errors
    /// The entry that is not understood, and what was expected.
    pub fn from_json(text: &str) -> Result<Self, String> {
        Self::from_value(&serde_json::from_str(text).map_err(|error| format!("`quantization` is not JSON: {error}"))?)
    }

    /// Reads the field's value. A `mode` that is not given is `affine`, and `true` for a layer is the default, as in mlx-lm.
    ///
    /// # Errors
    /// The entry that is not understood, and what was expected.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            return Err("`quantization` must be an object with group_size and bits".into());
        };
        let default = from_fields(fields, "quantization")?;
        let mut layers = BTreeMap::new();
        for (module, layer) in fields.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())) {
            let layer = match layer {
                Value::Bool(true) => continue,
                Value::Bool(false) => None,
                Value::Object(own) => Some(from_fields(own, &format!("quantization.{module}"))?),
                other => {
                    return Err(format!(
                        "`quantization.{module}` is {other}, expected true, false or an object with group_size and bits"
                    ));
                }
            };
            layers.insert(module.clone(), layer);
        }
        Ok(QuantizationConfig { default, layers })
    }
}

fn to_fields(quantization: Quantization) -> Map<String, Value> {
    let Quantization { group_size, bits, mode } = quantization;
    let fields = [("bits", json!(bits)), ("group_size", json!(group_size)), ("mode", json!(mode.name()))];
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn from_fields(fields: &Map<String, Value>, at: &str) -> Result<Quantization, String> {
    let mode = match fields.get("mode") {
        None => QuantizationMode::Affine,
        Some(Value::String(mode)) => mode.parse().map_err(|reason| format!("`{at}.mode`: {reason}"))?,
        Some(other) => return Err(format!("`{at}.mode` is {other}, expected a text such as \"affine\"")),
    };
    let number = |name: &str| {
        let found = fields.get(name).ok_or_else(|| format!("`{at}` has no `{name}`"))?;
        let number = found.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| format!("`{at}.{name}` is {found}, expected a whole number"))
    };
    Quantization::new(mode, number("bits")?, number("group_size")?).map_err(|reason| format!("`{at}`: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let default = QuantizationMode::Affine.default_quantization();
        let mxfp8 = QuantizationMode::Mxfp8.default_quantization();
        let layers = BTreeMap::from([("a.b".to_string(), Some(mxfp8)), ("c".to_string(), None)]);
        let config = QuantizationConfig { default, layers };
        let json = config.to_json();
        assert_eq!(
            json,
            r#"{"a.b":{"bits":8,"group_size":32,"mode":"mxfp8"},"bits":4,"c":false,"group_size":64,"mode":"affine"}"#
        );
        assert_eq!(QuantizationConfig::from_json(&json), Ok(config));
    }

    #[test]
    fn entries_that_are_not_understood_are_named() {
        for (json, words) in [
            ("4", "must be an object"),
            ("{", "not JSON"),
            (r#"{"bits": 4}"#, "`quantization` has no `group_size`"),
            (r#"{"bits": "4", "group_size": 64}"#, "`quantization.bits` is \"4\""),
            (r#"{"bits": -4, "group_size": 64}"#, "`quantization.bits` is -4"),
            (r#"{"bits": 7, "group_size": 64}"#, "no 7 bits"),
            (r#"{"bits": 4, "group_size": 64, "mode": "fp4"}"#, "unknown quantization mode `fp4`"),
            (r#"{"bits": 4, "group_size": 64, "mode": 4}"#, "`quantization.mode` is 4"),
            (r#"{"bits": 4, "group_size": 64, "a.b": 8}"#, "`quantization.a.b` is 8"),
            (r#"{"bits": 4, "group_size": 64, "a.b": {"bits": 4}}"#, "`quantization.a.b` has no `group_size`"),
        ] {
            let error = QuantizationConfig::from_json(json).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
