//! The names of the original WavLM (`unilm/wavlm/WavLM.py`, `modules.py`) beside those that it shares with fairseq.

use super::table::Row;

/// The gated relative position bias.
pub(super) const ROWS: &[Row] = &[
    Row::new("encoder.layers.{i}.attention.gru_rel_pos_const", "encoder.layers.{i}.self_attn.grep_a"),
    Row::new("encoder.layers.{i}.attention.gru_rel_pos_linear.*", "encoder.layers.{i}.self_attn.grep_linear.*"),
    Row::new("encoder.layers.{i}.attention.rel_attn_embed.*", "encoder.layers.{i}.self_attn.relative_attention_bias.*"),
];

/// The module that holds the layers, with its dot.
pub(super) const LAYERS: &str = "encoder.layers.";

/// Whether a name has a component that only WavLM's names have.
pub(super) fn has_own_component(name: &str) -> bool {
    name.split('.').any(|component| matches!(component, "grep_a" | "grep_linear" | "relative_attention_bias"))
}
