//! PEFT's `adapter_config.json`: the scale of each module, and the options that change what a merge computes.
//!
//! The fields are those of `LoraConfig` in PEFT 0.21.2:
//! <https://github.com/huggingface/peft/blob/v0.21.2/src/peft/tuners/lora/config.py>.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::AdapterError;
use super::layer::{LoraLayer, checked_scale};
use super::pattern::{CompiledPatterns, Patterns};

/// The fields that a merge depends on, and all others.
#[derive(Deserialize)]
struct Fields {
    peft_type: String,
    r: Option<usize>,
    lora_alpha: Option<f64>,
    #[serde(default)]
    use_rslora: Option<bool>,
    #[serde(default)]
    use_dora: Option<bool>,
    #[serde(default)]
    lora_bias: Option<bool>,
    #[serde(default)]
    fan_in_fan_out: Option<bool>,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(default)]
    rank_pattern: Patterns,
    #[serde(default)]
    alpha_pattern: Patterns,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Fields that do not change the merged weights: the tensors show which modules were trained, and which were saved whole.
const WITHOUT_EFFECT: [&str; 22] = [
    "task_type",
    "base_model_name_or_path",
    "revision",
    "auto_mapping",
    "inference_mode",
    "peft_version",
    "runtime_config",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "modules_to_save",
    "bias",
    "lora_dropout",
    "megatron_core",
    "loftq_config", // without init_lora_weights = "loftq" PEFT ignores it
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "qalora_group_size",
    "ensure_weight_tying",
    "velora_config", // another backward pass
];

/// Fields that change what the adapted model computes, with the reason why they cannot be merged.
const REFUSED: [(&str, &str); 10] = [
    ("layer_replication", "the adapted model has more layers than the checkpoint"),
    ("megatron_config", "the layers are Megatron's, split over processes"),
    ("alora_invocation_tokens", "an activated LoRA applies to some tokens only, and cannot be merged"),
    ("arrow_config", "Arrow chooses among adapters for each token, and cannot be merged"),
    ("monteclora_config", "MonteCLoRA samples its weights"),
    ("kasa_config", "KaSA also changes the base weights"),
    ("use_bdlora", "the factors are block-diagonal"),
    ("use_qalora", "QALoRA pools the inputs of a quantized layer"),
    ("target_parameters", "LoRA of parameters instead of modules"),
    ("trainable_token_indices", "rows of an embedding were trained, which the encoders do not have"),
];

/// The methods that PEFT starts from the base weights, which it changes when it loads such an adapter.
const CHANGES_THE_BASE: [&str; 5] = ["pissa", "olora", "corda", "lora_ga", "loftq"];

/// The advice for every refused option.
const MERGE: &str = "merge the adapter in Python, `model = model.merge_and_unload()`, and convert the merged model";

/// A PEFT configuration whose options can be merged.
#[derive(Debug)]
pub(super) struct PeftConfig {
    rank: usize,
    alpha: f64,
    is_rank_stabilized: bool,
    has_magnitudes: bool,
    has_biases: bool,
    rank_pattern: CompiledPatterns,
    alpha_pattern: CompiledPatterns,
    /// Notes about options that PEFT itself ignores, one sentence each.
    pub(super) notes: Vec<String>,
}

impl PeftConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`AdapterError`] for another method than LoRA, and for an option that changes the result and is not supported.
    pub(super) fn from_json(text: &str) -> Result<Self, AdapterError> {
        let fields: Fields = serde_json::from_str(text).map_err(|error| AdapterError::Json(error.to_string()))?;
        let unsupported = |field: &str, found: &Value, reason: &str| {
            let (field, found) = (field.to_string(), shortened(found));
            Err(AdapterError::Unsupported { field, found, reason: format!("{reason}; {MERGE}") })
        };
        if fields.peft_type != "LORA" {
            let found = Value::from(fields.peft_type);
            return unsupported("peft_type", &found, "only LoRA (with its variants rsLoRA and DoRA) can be merged");
        }
        match &fields.init_lora_weights {
            Value::Null | Value::Bool(_) => {}
            Value::String(name) if ["gaussian", "eva", "orthogonal", "mica"].contains(&name.as_str()) => {}
            Value::String(name) if CHANGES_THE_BASE.iter().any(|method| name.starts_with(method)) => {
                let reason = "such an adapter belongs to base weights that were changed when training began, not to those of \
                              the checkpoint";
                return unsupported("init_lora_weights", &fields.init_lora_weights, reason);
            }
            other => return unsupported("init_lora_weights", other, "the method is not known"),
        }
        for (field, value) in &fields.others {
            let is_off = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(values) => values.is_empty(),
                Value::Object(values) => values.is_empty(),
                _ => false,
            };
            if is_off || WITHOUT_EFFECT.contains(&field.as_str()) {
                continue;
            }
            let known = REFUSED.iter().find(|(name, _)| name == field).map(|(_, reason)| *reason);
            return unsupported(field, value, known.unwrap_or("the option is not known, and may change the result"));
        }
        let missing = |field| AdapterError::Missing { field, reason: "decides the scale; give the adapter's own file" };
        let mut notes = Vec::new();
        if fields.fan_in_fan_out == Some(true) {
            notes.push(
                "the adapter's `fan_in_fan_out` is true, which PEFT ignores for linear layers, the only ones of these models"
                    .to_string(),
            );
        }
        let (has_magnitudes, has_biases) = (fields.use_dora == Some(true), fields.lora_bias == Some(true));
        Ok(PeftConfig {
            rank: fields.r.ok_or_else(|| missing("r"))?,
            alpha: fields.lora_alpha.ok_or_else(|| missing("lora_alpha"))?,
            is_rank_stabilized: fields.use_rslora == Some(true),
            has_magnitudes,
            has_biases,
            rank_pattern: fields.rank_pattern.compile("rank_pattern")?,
            alpha_pattern: fields.alpha_pattern.compile("alpha_pattern")?,
            notes,
        })
    }

    /// Sets the scale of a module: alpha / rank, or alpha / √rank for rsLoRA.
    ///
    /// # Errors
    /// [`AdapterError::Rank`] or [`AdapterError::Contradiction`] if the configuration does not fit the tensors,
    /// [`AdapterError::Scale`] for an alpha that is not positive.
    pub(super) fn set_scale(&self, module: &str, layer: &mut LoraLayer) -> Result<(), AdapterError> {
        // Patterns are matched with a path in the wrapped model, which a checkpoint's key has after the wrapper's own names.
        let module = module.rsplit_once("base_model.model.").map_or(module, |(_, path)| path);
        let by_pattern = self.rank_pattern.value(module);
        let (stated, field) = by_pattern.map_or((self.rank, "r"), |rank| (rank as usize, "rank_pattern"));
        if stated != layer.rank {
            let (module, name) = (module.to_string(), layer.a.key.clone());
            return Err(AdapterError::Rank { module, name, found: layer.rank, stated, field });
        }
        for (field, stated, tensor) in
            [("use_dora", self.has_magnitudes, &layer.magnitude), ("lora_bias", self.has_biases, &layer.bias)]
        {
            let found = match (stated, tensor) {
                (true, None) => format!("module `{module}` has no such tensor"),
                (false, Some(tensor)) => format!("there is a tensor `{}`", tensor.key),
                _ => continue,
            };
            return Err(AdapterError::Contradiction { field, stated: stated.to_string(), found });
        }
        let alpha = self.alpha_pattern.value(module).unwrap_or(self.alpha);
        let rank = layer.rank as f64;
        let scale = if self.is_rank_stabilized { alpha / rank.sqrt() } else { alpha / rank };
        layer.scale = checked_scale(module, scale, &format!("alpha {alpha}, rank {rank}"))?;
        Ok(())
    }
}

/// A value as JSON, cut to a length that fits a message.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::layer::AdapterTensor;
    use crate::{SourceDtype, TensorInfo};

    /// In a checkpoint, a key has the names of PEFT's own modules and of a trainer's before the path that PEFT matches.
    #[test]
    fn patterns_match_the_path_in_the_wrapped_model() {
        let json = r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 16,
            "alpha_pattern": {"^encoder.layers.1.attention.q_proj": 3}, "rank_pattern": {"^encoder.layers.2": 4}}"#;
        let config = PeftConfig::from_json(json).unwrap();
        let tensor =
            || AdapterTensor { key: "a".into(), info: TensorInfo { dtype: SourceDtype::F32, shape: vec![8, 64] } };
        for prefix in ["", "base_model.model.", "module.base_model.model."] {
            for (path, rank, scale) in
                [("encoder.layers.1.attention.q_proj", 8, 0.375), ("encoder.layers.0.attention.q_proj", 8, 2.0)]
            {
                let mut layer = LoraLayer {
                    a: tensor(),
                    b: tensor(),
                    rank,
                    scale: 0.0,
                    bias: None,
                    magnitude: None,
                    is_transposed: false,
                };
                config.set_scale(&format!("{prefix}{path}"), &mut layer).unwrap();
                assert_eq!(layer.scale, scale, "{prefix}{path}");
            }
        }
    }
}
