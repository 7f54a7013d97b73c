//! fairseq's names (`fairseq/models/wav2vec/wav2vec2.py`, `hubert/hubert.py`, `data2vec/data2vec_audio.py`), which
//! ContentVec, MERT and the original WavLM keep.

use super::table::Row;
use super::variant::{PositionalNames, Variant};
use crate::FeatureExtractorNorm;

/// The names that do not depend on the architecture.
pub(super) const COMMON: &[Row] = &[
    Row::new("feature_extractor.conv_layers.{i}.conv.*", "feature_extractor.conv_layers.{i}.0.*"),
    Row::new("feature_projection.layer_norm.*", "layer_norm.*"),
    Row::new("feature_projection.projection.*", "post_extract_proj.*"),
    Row::new("masked_spec_embed", "mask_emb"),
    Row::new("encoder.layers.{i}.attention.q_proj.*", "encoder.layers.{i}.self_attn.q_proj.*"),
    Row::new("encoder.layers.{i}.attention.k_proj.*", "encoder.layers.{i}.self_attn.k_proj.*"),
    Row::new("encoder.layers.{i}.attention.v_proj.*", "encoder.layers.{i}.self_attn.v_proj.*"),
    Row::new("encoder.layers.{i}.attention.out_proj.*", "encoder.layers.{i}.self_attn.out_proj.*"),
    // Checkpoints from before the projections were separated; fairseq splits them when it loads one.
    Row::third("encoder.layers.{i}.attention.q_proj.weight", "encoder.layers.{i}.self_attn.in_proj_weight", 0),
    Row::third("encoder.layers.{i}.attention.k_proj.weight", "encoder.layers.{i}.self_attn.in_proj_weight", 1),
    Row::third("encoder.layers.{i}.attention.v_proj.weight", "encoder.layers.{i}.self_attn.in_proj_weight", 2),
    Row::third("encoder.layers.{i}.attention.q_proj.bias", "encoder.layers.{i}.self_attn.in_proj_bias", 0),
    Row::third("encoder.layers.{i}.attention.k_proj.bias", "encoder.layers.{i}.self_attn.in_proj_bias", 1),
    Row::third("encoder.layers.{i}.attention.v_proj.bias", "encoder.layers.{i}.self_attn.in_proj_bias", 2),
    Row::new("encoder.layers.{i}.layer_norm.*", "encoder.layers.{i}.self_attn_layer_norm.*"),
    Row::new("encoder.layers.{i}.feed_forward.intermediate_dense.*", "encoder.layers.{i}.fc1.*"),
    Row::new("encoder.layers.{i}.feed_forward.output_dense.*", "encoder.layers.{i}.fc2.*"),
    Row::new("encoder.layers.{i}.final_layer_norm.*", "encoder.layers.{i}.final_layer_norm.*"),
    Row::new("encoder.layer_norm.*", "encoder.layer_norm.*"),
];

const GROUP_NORM: &[Row] =
    &[Row::new("feature_extractor.conv_layers.0.layer_norm.*", "feature_extractor.conv_layers.0.2.*")];
const LAYER_NORMS: &[Row] =
    &[Row::new("feature_extractor.conv_layers.{i}.layer_norm.*", "feature_extractor.conv_layers.{i}.2.1.*")];

/// The norms of the feature extractor: one after convolution 0 with `extractor_mode` `default`, one after each with
/// `layer_norm`.
pub(super) fn norms(variant: Variant) -> &'static [Row] {
    match variant.norm {
        FeatureExtractorNorm::Group => GROUP_NORM,
        FeatureExtractorNorm::Layer => LAYER_NORMS,
    }
}

const WEIGHT_NORM: &[Row] = &[Row::new("encoder.pos_conv_embed.conv.*", "encoder.pos_conv.0.*")];
const BATCH_NORM: &[Row] = &[
    Row::new("encoder.pos_conv_embed.batch_norm.*", "encoder.pos_conv.0.*"),
    Row::new("encoder.pos_conv_embed.conv.*", "encoder.pos_conv.1.*"),
];
const STACK: &[Row] = &[Row::new("encoder.pos_conv_embed.layers.{i}.conv.*", "encoder.pos_conv.{i}.0.*")];

/// The positional convolution, a `Sequential` whose modules depend on `conv_pos_batch_norm` and `pos_conv_depth`.
pub(super) fn positional(variant: Variant) -> &'static [Row] {
    match variant.positional {
        PositionalNames::WeightNorm => WEIGHT_NORM,
        PositionalNames::BatchNorm => BATCH_NORM,
        PositionalNames::Stack => STACK,
    }
}

/// Beginnings of names of tensors that only training uses, and what they are.
const TRAINING_ONLY: &[(&str, &str)] = &[
    ("final_proj.", HEAD),
    ("final_projs.", HEAD),
    ("layer_proj.", "ContentVec's projection for its contrastive loss, not part of the encoder"),
    ("label_embs_concat", HEAD),
    ("logit_temp_list", "temperatures of MERT's training loss"),
    ("target_glu.", HEAD),
    ("quantizer.", QUANTIZER),
    ("input_quantizer.", QUANTIZER),
    ("project_q.", QUANTIZER),
    ("project_inp.", QUANTIZER),
    ("proj.", HEAD),
    ("encoder_cqt_model.", "predicts a constant-Q transform in MERT's training only"),
    ("encoder_mel_model.", "predicts mel spectra in MERT's training only"),
    ("_ema", "the averaged copy (EMA) of the training"),
];

const HEAD: &str = "belongs to a task head, not to the encoder";
const QUANTIZER: &str = "quantizes the targets in training only";

/// The reason to leave out a tensor that only training or a task head uses.
pub(super) fn training_only_reason(name: &str) -> Option<&'static str> {
    TRAINING_ONLY.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, reason)| *reason)
}
