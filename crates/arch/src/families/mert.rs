//! MERT ([Li et al. 2023](https://arxiv.org/abs/2306.00107)): HuBERT for music, by its own code on the hub
//! ([`modeling_MERT.py`](https://huggingface.co/m-a-p/MERT-v1-95M/blob/main/modeling_MERT.py)).
//!
//! Its own fields are `deepnorm`, `attention_relax`, `sample_rate` and `feature_extractor_cqt`, which is refused. MERT-v1-330M
//! is pre-LN with a group norm, which no HuBERT is. Shapes tell neither the rate (v0 takes 16 kHz, v1 24 kHz) nor the
//! normalisation of the audio.

use super::{Family, FamilyNames};
use crate::{Config, ModelConfig};

pub(super) struct Mert;

impl Family for Mert {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "mert_model",
            title: "MERT",
            class: "MERTModel",
            prefix: "mert.",
            usual_sampling_rate: 24_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn default_config(&self) -> Config {
        Config { model: ModelConfig::Mert, ..Config::default() }
    }

    fn training_only(&self) -> &'static [&'static str] {
        &["encoder_cqt_model.", "encoder_mel_model.", "final_projs.", "logit_temp_list"]
    }
}
