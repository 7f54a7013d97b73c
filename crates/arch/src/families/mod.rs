//! The model families: one room each for what a family's `config.json`, tensors and audio input have of their own.
//!
//! A family is chosen by `model_type`. It decides which mechanisms a [`Config`] describes ([`PositionalConv`],
//! [`PositionBias`]) and which fields have a fixed value; the engines see mechanisms only and know no family.

mod data2vec_audio;
mod encodec;
mod hubert;
mod mert;
mod musicgen;
mod t5;
mod unispeech;
mod unispeech_sat;
mod unsupported;
mod wav2vec2;
mod wavlm;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::data2vec_audio::Data2VecAudioConfig;
pub use self::encodec::{
    EncodecConfig, EncodecMlxTensor, EncodecRole, EncodecTensor, EncodecWeightNorm, PadMode,
    encodec_training_only_reason, encodec_weight_norms, hf_encodec_name,
};
pub use self::hubert::HubertConfig;
pub use self::musicgen::{CpTransformer, MUSICGEN_HEAD_DIM, MusicgenConfig, MusicgenDecoder};
pub use self::t5::{T5Config, T5FeedForward, t5_left_out_reason};
pub(crate) use self::unsupported::{UnsupportedFields, refuse_fields, supported_family};
pub use self::wavlm::WavLmConfig;
use crate::config::parse;
use crate::{Config, ConfigError, PositionBias, PositionalConv};

/// The family of a model with the fields that only this family has, as the `model_type` of a `config.json` names it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model_type")]
pub enum ModelConfig {
    /// MERT, by its own code on the hub. `music_hubert` is its name in early configurations.
    #[serde(rename = "mert_model", alias = "music_hubert")]
    Mert,
    /// HuBERT and ContentVec.
    #[serde(rename = "hubert")]
    Hubert(HubertConfig),
    /// wav2vec 2.0, XLSR-53, XLS-R and MMS.
    #[serde(rename = "wav2vec2")]
    Wav2Vec2,
    /// UniSpeech.
    #[serde(rename = "unispeech")]
    UniSpeech,
    /// UniSpeech-SAT.
    #[serde(rename = "unispeech-sat")]
    UniSpeechSat,
    /// WavLM.
    #[serde(rename = "wavlm")]
    WavLm(WavLmConfig),
    /// data2vec for audio, and music2vec.
    #[serde(rename = "data2vec-audio")]
    Data2VecAudio(Data2VecAudioConfig),
}

/// The names of a family in transformers, and the audio input of most of its published models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyNames {
    /// The `model_type` of its `config.json`.
    pub model_type: &'static str,
    /// The name that people know it by.
    pub title: &'static str,
    /// The class of the bare encoder in transformers.
    pub class: &'static str,
    /// The attribute under which transformers' task models hold the encoder, with the dot: the prefix of their tensors.
    pub prefix: &'static str,
    /// The sampling rate of most of its published models in hertz.
    pub usual_sampling_rate: u32,
}

/// The fields that only MERT has.
const MERT_FIELDS: &[&str] = &["deepnorm", "attention_relax", "sample_rate"];

/// The fields that wav2vec 2.0 and its closest relatives lack.
const NOT_IN_WAV2VEC2: &[&str] = &["deepnorm", "attention_relax", "sample_rate", "feat_proj_layer_norm"];

/// The decisions of one family, such as its names and mechanisms. The defaults are HuBERT's.
pub(crate) trait Family {
    /// The names of the family.
    fn names(&self) -> &'static FamilyNames;

    /// The configuration of transformers' class without arguments, from which a `config.json` lists differences only.
    fn default_config(&self) -> Config;

    /// Gives each field that the family's class does not read the value with which it computes.
    fn fix_fields(&self, _config: &mut Config) {}

    /// The fields of [`Config`] that the family's class does not have.
    fn foreign_fields(&self) -> &'static [&'static str];

    /// Checks the fields of the family.
    fn validate(&self, _config: &Config) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The positional convolution.
    fn positional_conv(&self, config: &Config) -> PositionalConv {
        let Config { num_conv_pos_embeddings: kernel, num_conv_pos_embedding_groups: groups, .. } = *config;
        PositionalConv::WeightNorm { kernel, groups }
    }

    /// The bias of the attention scores that depends on the distance of query and key.
    fn position_bias(&self) -> Option<PositionBias> {
        None
    }

    /// The beginnings of the names of tensors outside the encoder that only this family's training and task heads have.
    fn training_only(&self) -> &'static [&'static str] {
        &[]
    }
}

impl ModelConfig {
    /// Every family, with its default fields.
    pub fn all() -> [ModelConfig; 7] {
        [
            ModelConfig::Mert,
            ModelConfig::Hubert(HubertConfig::default()),
            ModelConfig::Wav2Vec2,
            ModelConfig::UniSpeech,
            ModelConfig::UniSpeechSat,
            ModelConfig::WavLm(WavLmConfig::default()),
            ModelConfig::Data2VecAudio(Data2VecAudioConfig::default()),
        ]
    }

    /// The family with this `model_type`, with its default fields.
    pub fn of_type(model_type: &str) -> Option<ModelConfig> {
        let model_type = if model_type == "music_hubert" { "mert_model" } else { model_type };
        ModelConfig::all().into_iter().find(|family| family.names().model_type == model_type)
    }

    /// Reads the fields of this family from a configuration file.
    pub(crate) fn read(self, fields: &Value) -> Result<ModelConfig, ConfigError> {
        // Each by its own type: serde's tagged enums lose the name of a field at fault.
        Ok(match self {
            ModelConfig::Hubert(_) => ModelConfig::Hubert(parse(fields)?),
            ModelConfig::WavLm(_) => ModelConfig::WavLm(parse(fields)?),
            ModelConfig::Data2VecAudio(_) => ModelConfig::Data2VecAudio(parse(fields)?),
            ModelConfig::Mert | ModelConfig::Wav2Vec2 | ModelConfig::UniSpeech | ModelConfig::UniSpeechSat => self,
        })
    }

    /// The names of the family.
    pub fn names(&self) -> &'static FamilyNames {
        self.family().names()
    }

    /// The configuration of transformers' class without arguments.
    pub fn default_config(&self) -> Config {
        self.family().default_config()
    }

    /// The room of the family.
    pub(crate) fn family(&self) -> &dyn Family {
        match self {
            ModelConfig::Mert => &mert::Mert,
            ModelConfig::Hubert(config) => config,
            ModelConfig::Wav2Vec2 => &wav2vec2::Wav2Vec2,
            ModelConfig::UniSpeech => &unispeech::UniSpeech,
            ModelConfig::UniSpeechSat => &unispeech_sat::UniSpeechSat,
            ModelConfig::WavLm(config) => config,
            ModelConfig::Data2VecAudio(config) => config,
        }
    }
}

/// The reason to leave out a tensor of a checkpoint that only training or a task head uses, by its name without the
/// encoder's prefix; `None` for any other name.
pub fn training_only_reason(name: &str) -> Option<&'static str> {
    /// Heads that models of several families have.
    const HEADS: [&str; 6] =
        ["lm_head.", "classifier.", "projector.", "final_proj.", "label_embs_concat", "feature_extractor_output_head."];
    if matches!(name, "masked_spec_embed" | "mask_time_emb_vector" | "mask_emb") {
        return Some("replaces masked frames in training only");
    }
    if name == "n_averaged" {
        return Some("counts the models that were averaged (torch.optim.swa_utils)");
    }
    if name == "encoder.pos_conv_embed.batch_norm.num_batches_tracked" {
        return Some("counts the batches of training");
    }
    let starts = |heads: &[&str]| heads.iter().any(|head| name.starts_with(head));
    if name == "layer_weights" || starts(&HEADS) {
        return Some("belongs to a task head, not to the encoder");
    }
    let families = ModelConfig::all();
    families.iter().any(|family| starts(family.family().training_only())).then_some("belongs to pretraining")
}

/// The families whose tensors these may be, judged by the tensors that only some have. Names are without prefix, except
/// those outside the encoder. Several families share all their tensors; none of them is first among equals.
///
/// `prefix` is the prefix of the encoder's tensors in the checkpoint.
pub fn families_of_tensors(tensors: &BTreeMap<String, Vec<usize>>, prefix: &str) -> Vec<ModelConfig> {
    let has = |part: &str| tensors.keys().any(|name| name.contains(part));
    if has("encoder.layers.0.attention.gru_rel_pos_const") {
        return vec![ModelConfig::WavLm(WavLmConfig::default())];
    }
    if has("encoder.pos_conv_embed.layers.") {
        return vec![ModelConfig::Data2VecAudio(Data2VecAudioConfig::default())];
    }
    if has("encoder.pos_conv_embed.batch_norm.") {
        return vec![ModelConfig::Hubert(HubertConfig { conv_pos_batch_norm: true })];
    }
    let alike = [
        ModelConfig::Hubert(HubertConfig::default()),
        ModelConfig::Mert,
        ModelConfig::Wav2Vec2,
        ModelConfig::UniSpeech,
        ModelConfig::UniSpeechSat,
    ];
    if !tensors.contains_key("feature_projection.layer_norm.weight") {
        return alike[..2].to_vec();
    }
    // "wav2vec2." also is the attribute of MERT's task models in no published code; the prefix names one family.
    let named: Vec<ModelConfig> = alike
        .into_iter()
        .filter(|family| !prefix.is_empty() && format!(".{prefix}").ends_with(&format!(".{}", family.names().prefix)))
        .collect();
    if named.is_empty() { alike.to_vec() } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_reads_its_own_default_configuration() {
        for family in ModelConfig::all() {
            let config = family.default_config();
            let type_alone = format!("{{\"model_type\": \"{}\"}}", family.names().model_type);
            assert_eq!(Config::from_json(&type_alone).unwrap(), config, "{type_alone}");
            assert_eq!(Config::from_json(&config.to_json()).unwrap(), config, "{}", config.to_json());
            assert_eq!(config.model, family);
        }
    }

    #[test]
    fn the_early_name_of_mert() {
        let config = Config::from_json(r#"{"model_type": "music_hubert", "deepnorm": true}"#).unwrap();
        assert_eq!((config.model, config.deepnorm), (ModelConfig::Mert, true));
    }
}
