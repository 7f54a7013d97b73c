//! WavLM ([Chen et al. 2021](https://arxiv.org/abs/2110.13900)): attention with a gated relative position bias.
//!
//! The number of heads and of buckets shows in the shapes; `max_bucket_distance` does not. Base and base+ are post-LN with a
//! group norm, large is pre-LN with layer norms.

use serde::{Deserialize, Serialize};

use super::{Family, FamilyNames, NOT_IN_WAV2VEC2};
use crate::{Config, ConfigError, ModelConfig, PositionBias};

/// The fields that only WavLM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WavLmConfig {
    /// Rows of the table of position biases: half of them for keys after the query.
    pub num_buckets: usize,
    /// Distance in frames from which on all keys share the last bucket of their side.
    pub max_bucket_distance: usize,
}

impl Default for WavLmConfig {
    fn default() -> Self {
        WavLmConfig { num_buckets: 320, max_bucket_distance: 800 }
    }
}

impl Family for WavLmConfig {
    fn names(&self) -> &'static FamilyNames {
        &FamilyNames {
            model_type: "wavlm",
            title: "WavLM",
            class: "WavLMModel",
            prefix: "wavlm.",
            usual_sampling_rate: 16_000,
        }
    }

    fn foreign_fields(&self) -> &'static [&'static str] {
        NOT_IN_WAV2VEC2
    }

    fn default_config(&self) -> Config {
        Config { model: ModelConfig::WavLm(*self), ..Config::default() }
    }

    fn fix_fields(&self, config: &mut Config) {
        // The class has no such field; its feature projection always begins with the LayerNorm.
        config.feat_proj_layer_norm = true;
    }

    fn validate(&self, _config: &Config) -> Result<(), ConfigError> {
        // Below four buckets no distance has a bucket of its own, and the logarithm of the others is infinite.
        if !(4..=1 << 16).contains(&self.num_buckets) {
            return Err(ConfigError::invalid("num_buckets", self.num_buckets, "a number from 4 to 65536"));
        }
        if !(self.num_buckets / 4 + 1..=1 << 30).contains(&self.max_bucket_distance) {
            let expected = format!("more than num_buckets / 4 ({}), at most 2^30 frames", self.num_buckets / 4);
            return Err(ConfigError::invalid("max_bucket_distance", self.max_bucket_distance, expected));
        }
        Ok(())
    }

    fn position_bias(&self) -> Option<PositionBias> {
        Some(PositionBias { num_buckets: self.num_buckets, max_distance: self.max_bucket_distance })
    }

    fn training_only(&self) -> &'static [&'static str] {
        &["quantizer.", "project_q.", "project_hid."]
    }
}
