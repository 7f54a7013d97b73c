//! The user's choices for a conversion of MusicGen.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mert_arch::Dtype;
use mert_arch::naming::MusicgenNames;

use crate::plan::QuantizeOptions;
use crate::write::{ByteSize, MAX_SHARD_SIZE};

/// The user's choices for a conversion of MusicGen.
#[derive(Debug, Clone)]
pub struct MusicgenOptions {
    /// The base model of an Instruct-MusicGen checkpoint: audiocraft's `state_dict.bin`.
    pub base: Option<PathBuf>,
    /// The codec: audiocraft's `compression_state_dict.bin`, or a folder of transformers' EnCodec or MusicGen.
    pub codec: Option<PathBuf>,
    /// A folder of transformers' T5, or MusicGen.
    pub t5: Option<PathBuf>,
    /// The folder or file of an adapter of PEFT or mlx-lm.
    pub adapter: Option<PathBuf>,
    /// The alpha of a LoRA whose configuration cannot be read.
    pub lora_alpha: Option<f64>,
    /// The smallest part of an adapter's change that each layer of the output must have, from 0 to 1.
    pub min_delta_kept: Option<f64>,
    /// The names of the language model's tensors in the output.
    pub names: MusicgenNames,
    /// Whether the output is for the class of mlx-examples, which reads the language model only.
    pub for_mlx_examples: bool,
    /// The element type of what is not quantized in the language model, and of the scales and biases of what is.
    pub dtype: Dtype,
    /// The element type of T5.
    pub t5_dtype: Dtype,
    /// The element type of the codec.
    pub codec_dtype: Dtype,
    /// The quantization of linear layers, by their paths in [`MusicgenNames::Mlx`]; `None` leaves all of them in `dtype`.
    pub quantize: Option<QuantizeOptions>,
    /// The number of attention heads, for checkpoints that do not state it.
    pub num_attention_heads: Option<usize>,
    /// Keys of tensors to leave out; a trailing `*` matches any ending.
    pub drop: Vec<String>,
    /// The largest file of weights.
    pub max_shard_size: ByteSize,
    /// The names that files and folders have in messages and in the record of sources, such as `facebook/musicgen-small` for a
    /// folder of the hub's cache; without one, a path has its last component.
    pub source_names: BTreeMap<PathBuf, String>,
}

impl Default for MusicgenOptions {
    /// f16 without quantization, the codec in f32: a rounded codec would return other codes.
    fn default() -> Self {
        MusicgenOptions {
            base: None,
            codec: None,
            t5: None,
            adapter: None,
            lora_alpha: None,
            min_delta_kept: None,
            names: MusicgenNames::Mlx,
            for_mlx_examples: false,
            dtype: Dtype::F16,
            t5_dtype: Dtype::F16,
            codec_dtype: Dtype::F32,
            quantize: None,
            num_attention_heads: None,
            drop: Vec::new(),
            max_shard_size: MAX_SHARD_SIZE,
            source_names: BTreeMap::new(),
        }
    }
}
