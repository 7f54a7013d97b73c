//! data2vec for audio ([Baevski et al. 2022](https://arxiv.org/abs/2202.03555)) and music2vec: several positional convolutions,
//! each followed by a LayerNorm without weights, and a feature extractor that is always normalised after every convolution.
//!
//! `num_conv_pos_embeddings` is the number of these convolutions, not a kernel. The layers are post-LN only.

use serde::{Deserialize, Serialize};

use super::{Family, FamilyNames};
use crate::{Config, ConfigError, FeatureExtractorNorm, ModelConfig, PositionalConv};

/// The fields that only data2vec-audio has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data2VecAudioConfig {
    /// Kernel of each positional convolution, in frames.
    pub conv_pos_kernel_size: usize,
}

impl Default for Data2VecAudioConfig {
    fn default() -> Self {
        Data2VecAudioConfig { conv_pos_kernel_size: 19 }
    }
}

impl Family for Data2VecAudioConfig {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "data2vec-audio",
            title: "data2vec-audio",
            class: "Data2VecAudioModel",
            prefix: "data2vec_audio.",
            usual_sampling_rate: 16_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        &[
            "deepnorm",
            "attention_relax",
            "sample_rate",
            "feat_proj_layer_norm",
            "feat_extract_norm",
            "do_stable_layer_norm",
        ]
    }

    fn default_config(&self) -> Config {
        Config {
            model: ModelConfig::Data2VecAudio(*self),
            num_conv_pos_embeddings: 5,
            feat_extract_norm: FeatureExtractorNorm::Layer,
            ..Config::default()
        }
    }

    fn fix_fields(&self, config: &mut Config) {
        // The class has none of these fields.
        config.feat_proj_layer_norm = true;
        config.feat_extract_norm = FeatureExtractorNorm::Layer;
        config.do_stable_layer_norm = false;
    }

    fn validate(&self, config: &Config) -> Result<(), ConfigError> {
        if !(1..=1 << 16).contains(&self.conv_pos_kernel_size) {
            let expected = "a number from 1 to 65536";
            return Err(ConfigError::invalid("conv_pos_kernel_size", self.conv_pos_kernel_size, expected));
        }
        if !(1..=1 << 10).contains(&config.num_conv_pos_embeddings) {
            let (found, expected) = (config.num_conv_pos_embeddings, "a number of convolutions from 1 to 1024");
            return Err(ConfigError::invalid("num_conv_pos_embeddings", found, expected));
        }
        Ok(())
    }

    fn positional_conv(&self, config: &Config) -> PositionalConv {
        PositionalConv::Stack {
            layers: config.num_conv_pos_embeddings,
            kernel: self.conv_pos_kernel_size,
            groups: config.num_conv_pos_embedding_groups,
        }
    }
}
