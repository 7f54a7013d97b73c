//! The fields of a training configuration that matter to a converted model, as a struct.

use super::conv_feature_layers::{ConvLayer, layers_of_list, parse_conv_feature_layers};
use super::fields::{FairseqError, Section};
use super::value::CfgValue;

/// The norms of the feature extractor (`extractor_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtractorMode {
    /// A GroupNorm after convolution 0.
    Default,
    /// ContentVec's GroupNorm that leaves padded frames out: the same for audio without padding.
    GroupNormMasked,
    /// A LayerNorm after every convolution.
    LayerNorm,
}

/// The fields of a training configuration that matter to a converted model; `None` where it does not state one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FairseqConfig {
    /// The encoder, unless the configuration is that of a fine-tuned model without its pretraining's.
    pub model: Option<FairseqModel>,
    /// The audio input.
    pub task: FairseqTask,
}

/// The audio input of a training.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FairseqTask {
    /// Whether audio was normalised to zero mean and unit variance (`task.normalize`, or MERT's `model.wav_normalize`).
    pub normalize: Option<bool>,
    /// The sampling rate of the audio in hertz (`task.sample_rate`).
    pub sample_rate: Option<u32>,
    /// The error of `task.normalize`, if its value cannot be used.
    pub normalize_error: Option<FairseqError>,
    /// The error of `task.sample_rate`, if its value cannot be used.
    pub sample_rate_error: Option<FairseqError>,
}

/// The encoder that a configuration describes, in fairseq's field names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FairseqModel {
    /// The path of the section in the configuration, with its dot; empty for the root.
    pub path: &'static str,
    /// The registered name of the model (`_name`, or `arch` in old checkpoints).
    pub name: Option<String>,
    /// Whether the layers are pre-LN.
    pub layer_norm_first: Option<bool>,
    /// The norms of the feature extractor.
    pub extractor_mode: Option<ExtractorMode>,
    /// Whether the convolutions of the feature extractor have a bias.
    pub conv_bias: Option<bool>,
    /// The convolutions of the feature extractor.
    pub conv_feature_layers: Option<Vec<ConvLayer>>,
    /// Number of layers.
    pub encoder_layers: Option<usize>,
    /// Number of ContentVec's speaker-conditional layers after those.
    pub encoder_layers_1: Option<usize>,
    /// Width of the hidden states.
    pub encoder_embed_dim: Option<usize>,
    /// Width of the feed-forward blocks.
    pub encoder_ffn_embed_dim: Option<usize>,
    /// Number of attention heads.
    pub encoder_attention_heads: Option<usize>,
    /// Activation of the feed-forward blocks.
    pub activation_fn: Option<String>,
    /// Kernel of the positional convolution; of several, the sum of their kernels.
    pub conv_pos: Option<usize>,
    /// Groups of the positional convolution.
    pub conv_pos_groups: Option<usize>,
    /// Number of positional convolutions.
    pub pos_conv_depth: Option<usize>,
    /// Whether the positional convolution has a BatchNorm instead of weight norm.
    pub conv_pos_batch_norm: Option<bool>,
    /// WavLM: whether the attention has a relative position bias.
    pub relative_position_embedding: Option<bool>,
    /// WavLM: whether the bias is gated.
    pub gru_rel_pos: Option<bool>,
    /// WavLM: rows of the table of biases.
    pub num_buckets: Option<usize>,
    /// WavLM: distance from which on all keys share a bucket.
    pub max_distance: Option<usize>,
    /// MERT: DeepNorm.
    pub deepnorm: Option<bool>,
    /// MERT: the relaxation of attention.
    pub attention_relax: Option<f64>,
}

/// Fields that ask for a variant that is not supported, and the value without it.
const UNSUPPORTED: &[(&str, &[&str], &str)] = &[
    ("layer_type", &["transformer"], "only `transformer` layers are supported, no Conformer and no adapters"),
    ("pos_enc_type", &["abs"], "only convolutional position embeddings (`abs`) are supported"),
    ("attn_type", &["", "mha"], "only fairseq's own attention is supported"),
    ("audio_extract_type", &["w2v_conv"], "only the convolutions of wav2vec 2.0 (`w2v_conv`) are supported"),
];
const UNSUPPORTED_IF_TRUE: &[(&str, &str)] = &[
    ("feature_extractor_cqt", "False: a constant-Q transform beside the convolutions is not supported"),
    ("subln", "False: SubLN is not supported"),
    ("do_cnn_feat_stable_layernorm", "False: the norms that it adds have no weights and are not supported"),
    ("quantize_input", "False: quantized input features are not supported"),
];

impl FairseqConfig {
    /// Reads the fields of a `cfg`, of an `args`, or of the original WavLM's `cfg`.
    ///
    /// # Errors
    /// [`FairseqError`] for a field with a value that no supported model has.
    pub fn from_cfg(cfg: &CfgValue) -> Result<Self, FairseqError> {
        let (outer, path) = section(cfg, "model", "model.");
        let outer = Section { root: cfg, value: outer, path };
        let mut task = FairseqTask::read(cfg);
        let Some(pretraining) = outer.field("w2v_args") else {
            let model = FairseqModel::read(outer, path)?;
            if let Some(true) = outer.truth("wav_normalize")? {
                task.normalize = Some(true);
            }
            return Ok(FairseqConfig { model, task });
        };
        let (inner, inner_path) = section(pretraining, "model", "model.w2v_args.model.");
        let inner_path = if inner_path.is_empty() { "w2v_args." } else { inner_path };
        let model = FairseqModel::read(Section { root: pretraining, value: inner, path: inner_path }, inner_path)?;
        let inner = FairseqTask::read(pretraining);
        Ok(FairseqConfig { model, task: task.with_pretraining(inner) })
    }
}

/// A section of a nested configuration with its path; a flat one (`args`, WavLM's `cfg`) is its own section.
fn section<'c>(cfg: &'c CfgValue, name: &str, path: &'static str) -> (&'c CfgValue, &'static str) {
    match cfg.get(name) {
        Some(section @ CfgValue::Dict(_)) => (section, path),
        _ => (cfg, ""),
    }
}

impl FairseqTask {
    fn read(cfg: &CfgValue) -> Self {
        let (value, path) = section(cfg, "task", "task.");
        let section = Section { root: cfg, value, path };
        let (normalize, normalize_error) = value_or_error(section.truth("normalize"));
        let (sample_rate, sample_rate_error) = value_or_error(section.rate("sample_rate"));
        FairseqTask {
            normalize,
            sample_rate,
            normalize_error: normalize_error.map(|error| FairseqError { fix: GIVE_NORMALIZE, ..error }),
            sample_rate_error: sample_rate_error.map(|error| FairseqError { fix: GIVE_RATE, ..error }),
        }
    }

    /// The audio input of a fine-tuned model, which its pretraining must not contradict.
    fn with_pretraining(self, inner: FairseqTask) -> Self {
        let python = |value: bool| if value { "True" } else { "False" };
        let normalize = (self.normalize.map(python), inner.normalize.map(python));
        let rates = (self.sample_rate.map(|rate| rate.to_string()), inner.sample_rate.map(|rate| rate.to_string()));
        let rates = (rates.0.as_deref(), rates.1.as_deref());
        let normalize_error = contradiction("normalize", normalize, GIVE_NORMALIZE);
        let sample_rate_error = contradiction("sample_rate", rates, GIVE_RATE);
        FairseqTask {
            normalize: self.normalize.or(inner.normalize),
            sample_rate: self.sample_rate.or(inner.sample_rate),
            normalize_error: self.normalize_error.or(inner.normalize_error).or(normalize_error),
            sample_rate_error: self.sample_rate_error.or(inner.sample_rate_error).or(sample_rate_error),
        }
    }
}

const GIVE_NORMALIZE: &str = "give --do-normalize true or false";
const GIVE_RATE: &str = "give --sampling-rate HZ";

/// The value of a field, or its error.
fn value_or_error<T>(field: Result<Option<T>, FairseqError>) -> (Option<T>, Option<FairseqError>) {
    match field {
        Ok(value) => (value, None),
        Err(error) => (None, Some(error)),
    }
}

/// The error of a field with different values for a fine-tuned model and its pretraining.
fn contradiction(field: &str, (outer, inner): (Option<&str>, Option<&str>), fix: &'static str) -> Option<FairseqError> {
    let (outer, inner) = (outer?, inner?);
    (outer != inner).then(|| FairseqError {
        field: format!("task.{field}"),
        found: format!("{outer} for the fine-tuned model and {inner} in its w2v_args"),
        expected: "one value".into(),
        fix,
    })
}

impl FairseqModel {
    /// Reads the section of the encoder; `None` if it has no field of one.
    fn read(section: Section<'_>, path: &'static str) -> Result<Option<Self>, FairseqError> {
        let has = |name: &&str| section.field(name).is_some();
        if !["conv_feature_layers", "encoder_layers", "encoder_embed_dim", "extractor_mode"].iter().any(has) {
            return Ok(None);
        }
        refuse_unsupported(section)?;
        let extractor_mode = match section.text("extractor_mode")? {
            None => None,
            Some("default") => Some(ExtractorMode::Default),
            Some("group_norm_masked") => Some(ExtractorMode::GroupNormMasked),
            Some("layer_norm") => Some(ExtractorMode::LayerNorm),
            Some(other) => {
                let found = CfgValue::Text(other.to_string());
                return Err(section.error("extractor_mode", &found, "default, group_norm_masked or layer_norm"));
            }
        };
        let name = match section.text("_name")? {
            Some(name) => Some(name),
            None => section.text("arch")?,
        };
        Ok(Some(FairseqModel {
            path,
            name: name.map(str::to_string),
            layer_norm_first: section.truth("layer_norm_first")?,
            extractor_mode,
            conv_bias: section.truth("conv_bias")?,
            conv_feature_layers: conv_feature_layers(section)?,
            encoder_layers: section.size("encoder_layers")?,
            encoder_layers_1: section.size("encoder_layers_1")?,
            encoder_embed_dim: section.size("encoder_embed_dim")?,
            encoder_ffn_embed_dim: section.size("encoder_ffn_embed_dim")?,
            encoder_attention_heads: section.size("encoder_attention_heads")?,
            activation_fn: section.text("activation_fn")?.map(str::to_string),
            conv_pos: section.size("conv_pos")?,
            conv_pos_groups: section.size("conv_pos_groups")?,
            pos_conv_depth: section.size("pos_conv_depth")?,
            conv_pos_batch_norm: section.truth("conv_pos_batch_norm")?,
            relative_position_embedding: section.truth("relative_position_embedding")?,
            gru_rel_pos: section.truth("gru_rel_pos")?,
            num_buckets: section.size("num_buckets")?,
            max_distance: section.size("max_distance")?,
            deepnorm: section.truth("deepnorm")?,
            attention_relax: section.number("attention_relax")?,
        }))
    }
}

fn refuse_unsupported(section: Section<'_>) -> Result<(), FairseqError> {
    for (field, supported, expected) in UNSUPPORTED {
        if let Some(found) = section.text(field)?.filter(|found| !supported.contains(found)) {
            return Err(section.error(field, &CfgValue::Text(found.to_string()), *expected));
        }
    }
    for (field, expected) in UNSUPPORTED_IF_TRUE {
        if let Some(found) = section.field(field).filter(|found| **found == CfgValue::Bool(true)) {
            return Err(section.error(field, found, *expected));
        }
    }
    Ok(())
}

fn conv_feature_layers(section: Section<'_>) -> Result<Option<Vec<ConvLayer>>, FairseqError> {
    const FIELD: &str = "conv_feature_layers";
    let expected = "a list of (dim, kernel, stride)";
    match section.field(FIELD) {
        None => Ok(None),
        Some(value @ CfgValue::Text(text)) => parse_conv_feature_layers(text)
            .map(Some)
            .map_err(|reason| section.error(FIELD, value, format!("{expected} ({reason})"))),
        Some(value @ CfgValue::List(items)) => {
            layers_of_list(items).map(Some).ok_or_else(|| section.error(FIELD, value, expected))
        }
        Some(other) => Err(section.error(FIELD, other, expected)),
    }
}
