//! What a training configuration says about the architecture beyond the shapes, in the names of a `config.json`.

use serde_json::{Value, json};

use super::config::{FairseqConfig, FairseqModel};
use super::fields::FairseqError;
use crate::ConfigField;

/// The registered names of models, and the families in transformers that compute the same.
const FAMILIES: &[(&str, &str)] = &[
    ("hubert", "hubert"),
    ("contentvec", "hubert"),
    ("wav2vec2", "wav2vec2"),
    ("wavlm", "wavlm"),
    ("data2vec_audio", "data2vec-audio"),
    ("mert", "mert_model"),
    ("music_hubert", "mert_model"),
];

/// The default of fairseq's dataclasses (`Wav2Vec2Config`, `HubertConfig`), and of the original WavLM's `WavLMConfig`.
const DEFAULT_HEADS: usize = 12;
const DEFAULT_STRIDES: [usize; 7] = [5, 2, 2, 2, 2, 2, 2];
const DEFAULT_MAX_DISTANCE: usize = 1280;

/// The fields of a `config.json` that shapes do not determine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatedFields {
    /// The fields.
    pub fields: Vec<ConfigField>,
    /// The fields among them that the configuration does not state, with the default of fairseq, as text.
    pub assumptions: Vec<String>,
}

impl FairseqConfig {
    /// The fields of a `config.json` that the configuration states and shapes do not determine; fairseq's default where it
    /// does not state one. None for a fine-tuned model without its pretraining's configuration.
    ///
    /// # Errors
    /// [`FairseqError`] for a model that no supported family computes.
    pub fn stated_fields(&self) -> Result<StatedFields, FairseqError> {
        match &self.model {
            Some(model) => model.stated_fields(self.task.sample_rate),
            None => Ok(StatedFields::default()),
        }
    }
}

impl FairseqModel {
    /// The `model_type` in transformers; `None` if neither the name nor a field shows it.
    ///
    /// # Errors
    /// [`FairseqError`] for a name that is not known.
    pub fn model_type(&self) -> Result<Option<&'static str>, FairseqError> {
        if self.relative_position_embedding == Some(true) {
            return Ok(Some("wavlm"));
        }
        let Some(name) = &self.name else { return Ok(None) };
        match FAMILIES.iter().find(|(known, _)| known == name) {
            Some((_, model_type)) => Ok(Some(model_type)),
            None => Err(FairseqError {
                field: format!("{}_name", self.path),
                found: format!("`{}`", crate::printable_line(name)),
                expected: format!(
                    "{} (or --set model_type=hubert, if the model computes what that family does)",
                    FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
                ),
                fix: FairseqError::GIVE_CONFIG,
            }),
        }
    }

    fn stated_fields(&self, sample_rate: Option<u32>) -> Result<StatedFields, FairseqError> {
        let mut stated = StatedFields::default();
        let model_type = self.model_type()?;
        stated.extend("model_type", model_type.map(|model_type| json!(model_type)));
        stated.field("num_attention_heads", self.encoder_attention_heads, DEFAULT_HEADS);
        if model_type == Some("data2vec-audio") && self.layer_norm_first != Some(true) {
            // transformers' class has no such field: it is post-LN.
        } else {
            stated.field("do_stable_layer_norm", self.layer_norm_first, false);
        }
        let strides = |layers: &Vec<_>| layers.iter().map(|layer: &super::ConvLayer| layer.stride).collect::<Vec<_>>();
        stated.field("conv_stride", self.conv_feature_layers.as_ref().map(strides), DEFAULT_STRIDES.to_vec());
        stated.field("hidden_act", self.hidden_act()?, "gelu");
        // Constants of fairseq's code.
        stated.extend("feat_extract_activation", Some(json!("gelu")));
        stated.extend("layer_norm_eps", Some(json!(1e-5)));
        match model_type {
            Some("wavlm") => {
                if self.gru_rel_pos == Some(false) {
                    return Err(FairseqError {
                        field: format!("{}gru_rel_pos", self.path),
                        found: "False".into(),
                        expected: "True: only the gated relative position bias is supported".into(),
                        fix: FairseqError::GIVE_CONFIG,
                    });
                }
                stated.field("max_bucket_distance", self.max_distance, DEFAULT_MAX_DISTANCE);
            }
            Some("mert_model") => {
                stated.extend("deepnorm", Some(json!(self.deepnorm.unwrap_or(false))));
                stated.extend("attention_relax", Some(json!(self.attention_relax.unwrap_or(-1.0))));
                stated.extend("sample_rate", sample_rate.map(|rate| json!(rate)));
            }
            _ if self.deepnorm == Some(true) => {
                return Err(FairseqError {
                    field: format!("{}deepnorm", self.path),
                    found: "True".into(),
                    expected: "False in other models than MERT".into(),
                    fix: FairseqError::GIVE_CONFIG,
                });
            }
            _ => {}
        }
        Ok(stated)
    }

    /// The activation under transformers' name. fairseq's `gelu_accurate` is the approximation by tanh, `gelu` the exact one.
    fn hidden_act(&self) -> Result<Option<&'static str>, FairseqError> {
        match self.activation_fn.as_deref() {
            None => Ok(None),
            Some("gelu") => Ok(Some("gelu")),
            Some("gelu_accurate" | "gelu_fast") => Ok(Some("gelu_new")),
            Some("relu") => Ok(Some("relu")),
            Some(other) => Err(FairseqError {
                field: format!("{}activation_fn", self.path),
                found: format!("`{}`", crate::printable_line(other)),
                expected: "gelu, gelu_accurate or relu".into(),
                fix: FairseqError::GIVE_CONFIG,
            }),
        }
    }
}

impl StatedFields {
    fn extend(&mut self, name: &str, value: Option<Value>) {
        self.fields.extend(value.map(|value| ConfigField { name: name.to_string(), value }));
    }

    /// Adds a field with its value, or the default as an assumption.
    fn field<T: serde::Serialize>(&mut self, name: &str, value: Option<T>, default: T) {
        let is_stated = value.is_some();
        let value = json!(value.unwrap_or(default));
        let field = ConfigField { name: name.to_string(), value };
        if !is_stated {
            let text = field.to_string().replacen('=', " = ", 1);
            self.assumptions.push(format!("{text} (fairseq's default; its cfg does not state it)"));
        }
        self.fields.push(field);
    }
}
