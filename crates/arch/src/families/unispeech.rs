//! UniSpeech ([Wang et al. 2021](https://arxiv.org/abs/2101.07597)): wav2vec 2.0's encoder with other heads.

use super::{Family, FamilyNames, NOT_IN_WAV2VEC2};
use crate::{Config, ModelConfig};

pub(super) struct UniSpeech;

impl Family for UniSpeech {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "unispeech",
            title: "UniSpeech",
            class: "UniSpeechModel",
            prefix: "unispeech.",
            usual_sampling_rate: 16_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        NOT_IN_WAV2VEC2
    }

    fn default_config(&self) -> Config {
        Config { model: ModelConfig::UniSpeech, ..Config::default() }
    }

    fn fix_fields(&self, config: &mut Config) {
        // The class has no such field; its feature projection always begins with the LayerNorm.
        config.feat_proj_layer_norm = true;
    }

    fn training_only(&self) -> &'static [&'static str] {
        &["quantizer.", "project_q.", "project_hid.", "ctc_proj."]
    }
}
