//! wav2vec 2.0 ([Baevski et al. 2020](https://arxiv.org/abs/2006.11477)), XLSR-53, XLS-R and the base models of MMS: the encoder
//! is HuBERT's, the quantizer and its projections belong to pretraining.
//!
//! Adapters after the encoder (`add_adapter`) and in the layers (`adapter_attn_dim`, MMS) are refused.

use super::{Family, FamilyNames, NOT_IN_WAV2VEC2};
use crate::{Config, ModelConfig};

pub(super) struct Wav2Vec2;

impl Family for Wav2Vec2 {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "wav2vec2",
            title: "wav2vec 2.0",
            class: "Wav2Vec2Model",
            prefix: "wav2vec2.",
            usual_sampling_rate: 16_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        NOT_IN_WAV2VEC2
    }

    fn default_config(&self) -> Config {
        Config { model: ModelConfig::Wav2Vec2, ..Config::default() }
    }

    fn fix_fields(&self, config: &mut Config) {
        // The class has no such field; its feature projection always begins with the LayerNorm.
        config.feat_proj_layer_norm = true;
    }

    fn training_only(&self) -> &'static [&'static str] {
        &["quantizer.", "project_q.", "project_hid."]
    }
}
