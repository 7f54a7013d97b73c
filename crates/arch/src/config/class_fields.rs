//! The fields of a configuration that the class of its family in transformers has.

use serde_json::{Map, Value};

use super::architecture::Config;

impl Config {
    /// The fields that transformers' configuration class of the family has, under their `config.json` names, `model_type`
    /// among them: every field of the architecture, whether it differs from the class or not, so that a later change of a
    /// default does not change the model.
    pub fn class_fields(&self) -> Map<String, Value> {
        // A struct of numbers, strings and lists with string keys always serialises to an object.
        let mut fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        for name in self.model.family().foreign_fields() {
            fields.remove(*name);
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    /// The fields without which the class still computes the same are those that reading gives a fixed value.
    #[test]
    fn the_fields_of_a_class_are_read_back() {
        for family in ModelConfig::all() {
            let config = family.default_config();
            let fields = config.class_fields();
            let json = Value::Object(fields.clone()).to_string();
            assert_eq!(Config::from_json(&json).unwrap(), config, "{json}");
            assert_eq!(fields["model_type"], family.names().model_type);
            let has = |field: &str| fields.contains_key(field);
            let is = |families: &[&str]| families.contains(&family.names().model_type);
            assert_eq!(has("feat_proj_layer_norm"), is(&["hubert", "mert_model"]));
            assert_eq!(has("deepnorm"), is(&["mert_model"]));
            assert_eq!(has("num_buckets"), is(&["wavlm"]));
            assert_eq!(has("do_stable_layer_norm"), !is(&["data2vec-audio"]));
        }
    }
}
