//! HuBERT ([Hsu et al. 2021](https://arxiv.org/abs/2106.07447)), DistilHuBERT and ContentVec.
//!
//! ContentVec and HuBERT base have the same tensors and cannot be told apart by them; nor can wav2vec 2.0, UniSpeech and MERT.

use serde::{Deserialize, Serialize};

use super::{Family, FamilyNames, MERT_FIELDS};
use crate::{Config, ModelConfig, PositionalConv};

/// The fields that only HuBERT has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HubertConfig {
    /// Whether a BatchNorm precedes the positional convolution, which then has no weight norm.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conv_pos_batch_norm: bool,
}

impl Family for HubertConfig {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "hubert",
            title: "HuBERT",
            class: "HubertModel",
            prefix: "hubert.",
            usual_sampling_rate: 16_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        MERT_FIELDS
    }

    fn default_config(&self) -> Config {
        Config { model: ModelConfig::Hubert(*self), ..Config::default() }
    }

    fn positional_conv(&self, config: &Config) -> PositionalConv {
        let Config { num_conv_pos_embeddings: kernel, num_conv_pos_embedding_groups: groups, .. } = *config;
        match self.conv_pos_batch_norm {
            true => PositionalConv::BatchNorm { kernel, groups },
            false => PositionalConv::WeightNorm { kernel, groups },
        }
    }
}
