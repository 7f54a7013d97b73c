//! transformers: a folder that the family's class loads with no missing and no unexpected tensor.

use mert_arch::{Config, Dtype, Layout, ModelConfig, PositionalConv};
use serde_json::json;

use super::hubert_graph::Refusal;
use super::{Companion, ModelClass, ModelFacts, WeightNormForm, files};

pub(super) struct HuggingFace;

impl ModelClass for HuggingFace {
    fn layout(&self) -> Layout {
        Layout::Torch
    }

    fn weight_norm(&self) -> WeightNormForm {
        WeightNormForm::Factors
    }

    fn name(&self, hugging_face: &str) -> String {
        hugging_face.into()
    }

    fn check(&self, _: &Config, _: Dtype, _: bool) -> Result<(), Refusal> {
        Ok(())
    }

    fn has_masked_spec_embed(&self) -> bool {
        true
    }

    fn counters(&self, config: &Config) -> Vec<String> {
        match config.positional_conv() {
            PositionalConv::BatchNorm { .. } => vec!["encoder.pos_conv_embed.batch_norm.num_batches_tracked".into()],
            PositionalConv::WeightNorm { .. } | PositionalConv::Stack { .. } => Vec::new(),
        }
    }

    fn companions(&self, model: &ModelFacts<'_>) -> Vec<Companion> {
        let mut config = files::config_fields(model.config, model.masked_spec_embed);
        config.insert("architectures".into(), json!([model.config.family().class]));
        let dtype = match model.dtype {
            Dtype::F16 => "float16",
            Dtype::Bf16 => "bfloat16",
            Dtype::F32 => "float32",
        };
        // transformers 5 reads the first, transformers 4 the second.
        config.insert("dtype".into(), json!(dtype));
        config.insert("torch_dtype".into(), json!(dtype));
        if let Some(size) = model.final_proj {
            config.insert("classifier_proj_size".into(), json!(size));
        }
        if model.config.model == ModelConfig::Mert {
            let auto_map =
                json!({ "AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel" });
            config.insert("auto_map".into(), auto_map);
        }
        files::companions(config, model)
    }

    fn notes(&self, model: &ModelFacts<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        if model.config.model == ModelConfig::Mert {
            let hubert = match model.config.deepnorm {
                true => "HubertModel has no DeepNorm and would compute something else",
                false => "or load the folder with HubertModel.from_pretrained, which computes the same",
            };
            notes.push(format!(
                "transformers has no class of MERT: copy configuration_MERT.py and modeling_MERT.py from the model's \
                 repository into the folder and load it with trust_remote_code=True; {hubert}"
            ));
        } else {
            notes.push(format!("load it with {}.from_pretrained(\"…\")", model.config.family().class));
        }
        if model.final_proj.is_some() {
            notes.push(
                "final_proj is for a class that has it, as RVC's subclass of HubertModel; HubertModel itself leaves it out"
                    .into(),
            );
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use mert_arch::Preprocessor;

    use super::*;

    fn config_json(config: &Config, masked_spec_embed: bool, final_proj: Option<usize>) -> serde_json::Value {
        let preprocessor = Preprocessor { do_normalize: false, sampling_rate: 16_000 };
        let facts = ModelFacts { config, dtype: Dtype::Bf16, preprocessor, final_proj, masked_spec_embed };
        let companions = HuggingFace.companions(&facts);
        assert_eq!(companions[1].name, "preprocessor_config.json");
        let preprocessor: serde_json::Value = serde_json::from_str(&companions[1].text).unwrap();
        assert_eq!((&preprocessor["do_normalize"], &preprocessor["sampling_rate"]), (&json!(false), &json!(16_000)));
        serde_json::from_str(&companions[0].text).unwrap()
    }

    /// What transformers itself makes of these files is checked with transformers (`scripts/check/clients.sh`).
    #[test]
    fn a_configuration_is_read_back_as_it_was() {
        for family in ModelConfig::all() {
            let config = family.default_config();
            let json = config_json(&config, false, None);
            assert_eq!(Config::from_json(&json.to_string()).unwrap(), config);
            assert_eq!(json["architectures"], json!([family.names().class]));
            assert_eq!((&json["dtype"], &json["mask_time_prob"]), (&json!("bfloat16"), &json!(0.0)));
            assert_eq!(json.get("auto_map").is_some(), family == ModelConfig::Mert);
        }
        let json = config_json(&Config::default(), true, Some(256));
        assert_eq!((&json["mask_time_prob"], &json["classifier_proj_size"]), (&json!(0.05), &json!(256)));
    }
}
