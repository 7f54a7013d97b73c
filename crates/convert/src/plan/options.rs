//! The options of a plan.

use std::path::PathBuf;

use mert_arch::{ConfigField, Dtype, Layout};

use crate::targets::Target;

/// The user's choices for a conversion.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The program that the output is for; `None` for a file of this toolkit.
    pub target: Option<Target>,
    /// The order of the axes of Conv1d weights in a file of this toolkit. A target decides its own.
    pub layout: Layout,
    /// The output's element type.
    pub dtype: Dtype,
    /// The `config.json` to use instead of the one found with the checkpoint.
    pub config_file: Option<PathBuf>,
    /// Configuration fields that override those of the file or those that would be assumed.
    pub config_set: Vec<ConfigField>,
    /// Overrides of the model's audio input, for files that do not state it or are wrong.
    pub preprocessor: PreprocessorOptions,
    /// The key prefix of the model to convert, if the checkpoint holds several.
    pub prefix: Option<String>,
    /// Whether the head `final_proj`, which voice conversion takes features from, is kept beside the encoder.
    pub keep_final_proj: bool,
    /// The smallest part of an adapter's change that each layer of the output must have, from 0 to 1.
    pub min_delta_kept: Option<f64>,
    /// Names of tensors to leave out; a trailing `*` matches any ending.
    pub drop: Vec<String>,
}

/// Overrides of the preprocessor by the user.
#[derive(Debug, Clone, Default)]
pub struct PreprocessorOptions {
    /// A `preprocessor_config.json` that replaces the one found with the checkpoint.
    pub file: Option<PathBuf>,
    /// Samples per second of the audio input, in hertz; overrides files.
    pub sampling_rate: Option<u32>,
    /// Whether windows are normalised; overrides files.
    pub do_normalize: Option<bool>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            target: None,
            layout: Layout::Mlx,
            dtype: Dtype::F16,
            config_file: None,
            config_set: Vec::new(),
            preprocessor: PreprocessorOptions::default(),
            prefix: None,
            keep_final_proj: false,
            min_delta_kept: None,
            drop: Vec::new(),
        }
    }
}
