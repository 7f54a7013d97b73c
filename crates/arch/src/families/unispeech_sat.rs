//! UniSpeech-SAT ([Chen et al. 2021](https://arxiv.org/abs/2110.05752)): wav2vec 2.0's encoder with heads for speakers.

use super::{Family, FamilyNames, NOT_IN_WAV2VEC2};
use crate::{Config, ModelConfig};

pub(super) struct UniSpeechSat;

impl Family for UniSpeechSat {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "unispeech-sat",
            title: "UniSpeech-SAT",
            class: "UniSpeechSatModel",
            prefix: "unispeech_sat.",
            usual_sampling_rate: 16_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        NOT_IN_WAV2VEC2
    }

    fn default_config(&self) -> Config {
        Config { model: ModelConfig::UniSpeechSat, ..Config::default() }
    }

    fn fix_fields(&self, config: &mut Config) {
        // The class has no such field; its feature projection always begins with the LayerNorm.
        config.feat_proj_layer_norm = true;
    }

    fn training_only(&self) -> &'static [&'static str] {
        &[
            "quantizer.",
            "project_q.",
            "project_hid.",
            "speaker_proj.",
            "label_embeddings_concat",
            "layer_norm_for_extract.",
        ]
    }
}
