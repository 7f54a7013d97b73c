//! The options of a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mert_arch::{ConfigField, Dtype, Int8Exceptions, Layout, Quantization, QuantizationMode};

use super::compression::Compression;
use crate::programs::Program;

/// The user's choices for a conversion.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The program that the output is for; `None` for a file of this toolkit.
    pub program: Option<Program>,
    /// The order of the axes of Conv1d weights in a file of this toolkit. A program decides its own.
    pub layout: Layout,
    /// The element type of what is not quantized, and of the scales and biases of what is.
    pub dtype: Dtype,
    /// The quantization of linear layers; `None` leaves all of them in `dtype`.
    pub quantize: Option<QuantizeOptions>,
    /// The modules that keep floats where a forward pass computes in 8-bit integers, as a file of this toolkit records them.
    pub int8_exceptions: Option<Int8Exceptions>,
    /// The compression of the linear layers of a Core ML package, which `dtype` f16 and no `quantize` go with.
    pub compress: Option<Compression>,
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

/// The linear layers to quantize, and how. A pattern is a module's path such as `encoder.layers.0.attention.q_proj`, in which
/// `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizeOptions {
    /// The quantization of the layers that `layers` does not name.
    pub default: Quantization,
    /// Patterns of the layers to quantize; all of them if there is none.
    pub only: Vec<String>,
    /// Patterns of the layers to leave in the float type.
    pub skip: Vec<String>,
    /// The quantization of single layers, by path; `None` for one that stays in the float type.
    pub layers: BTreeMap<String, Option<Quantization>>,
}

impl Default for QuantizeOptions {
    /// MLX's default, 4 bits in groups of 64, for every linear layer.
    fn default() -> Self {
        QuantizeOptions {
            default: QuantizationMode::Affine.default_quantization(),
            only: Vec::new(),
            skip: Vec::new(),
            layers: BTreeMap::new(),
        }
    }
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
            program: None,
            layout: Layout::Mlx,
            dtype: Dtype::F16,
            quantize: None,
            int8_exceptions: None,
            compress: None,
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
