//! torchaudio's names (`torchaudio/models/wav2vec2/components.py`, `wavlm_attention.py`): transformers' names in other
//! modules, with WavLM's projections stacked in a `nn.MultiheadAttention`.

use super::table::Row;

/// The module that holds the transformer layers, with its dot.
pub(super) const TRANSFORMER: &str = "encoder.transformer.";

/// The names that do not depend on the architecture.
pub(super) const COMMON: &[Row] = &[
    Row::new("feature_extractor.*", "feature_extractor.*"),
    Row::new("feature_projection.*", "encoder.feature_projection.*"),
    Row::new("encoder.*", "encoder.transformer.*"),
    Row::new("lm_head.*", "aux.*"),
];

const IN_PROJ_WEIGHT: &str = "encoder.transformer.layers.{i}.attention.attention.in_proj_weight";
const IN_PROJ_BIAS: &str = "encoder.transformer.layers.{i}.attention.attention.in_proj_bias";

/// WavLM's attention.
const MULTIHEAD_ATTENTION: &[Row] = &[
    Row::third("encoder.layers.{i}.attention.q_proj.weight", IN_PROJ_WEIGHT, 0),
    Row::third("encoder.layers.{i}.attention.k_proj.weight", IN_PROJ_WEIGHT, 1),
    Row::third("encoder.layers.{i}.attention.v_proj.weight", IN_PROJ_WEIGHT, 2),
    Row::third("encoder.layers.{i}.attention.q_proj.bias", IN_PROJ_BIAS, 0),
    Row::third("encoder.layers.{i}.attention.k_proj.bias", IN_PROJ_BIAS, 1),
    Row::third("encoder.layers.{i}.attention.v_proj.bias", IN_PROJ_BIAS, 2),
    Row::new(
        "encoder.layers.{i}.attention.out_proj.*",
        "encoder.transformer.layers.{i}.attention.attention.out_proj.*",
    ),
];

/// The rows of the attention that differ from transformers' names, in a model with or without a relative position bias.
pub(super) fn attention(position_bias: bool) -> &'static [Row] {
    if position_bias { MULTIHEAD_ATTENTION } else { &[] }
}

/// Whether a name, without the prefix of the model, shows the attention of torchaudio's WavLM.
pub(super) fn is_multihead_attention(name: &str) -> bool {
    name.starts_with(TRANSFORMER) && name.contains(".attention.attention.")
}

/// Beginnings of names of tensors that only training uses, and what they are.
const TRAINING_ONLY: &[(&str, &str)] = &[
    ("mask_generator.", "replaces masked frames in training only"),
    ("logit_generator.", "belongs to a task head, not to the encoder"),
];

/// The reason to leave out a tensor that only training or a task head uses.
pub(super) fn training_only_reason(name: &str) -> Option<&'static str> {
    TRAINING_ONLY.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, reason)| *reason)
}
