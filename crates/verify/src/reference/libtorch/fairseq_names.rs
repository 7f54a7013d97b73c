//! The names of tensors in fairseq's checkpoints and in the original WavLM's, by their names in transformers. This is the
//! judge's own table, after `HubertModel` of
//! [fairseq](https://github.com/facebookresearch/fairseq/blob/main/fairseq/models/wav2vec/wav2vec2.py) and
//! [WavLM](https://github.com/microsoft/unilm/blob/master/wavlm/WavLM.py): a name that the converter has wrong is found.

/// The name of the first convolution's weight in fairseq.
pub(super) const CONV0_WEIGHT: &str = "feature_extractor.conv_layers.0.0.weight";

/// Parts of names, transformers' before fairseq's; the first that matches a name applies. A part ends before a dot.
const ENCODER: [(&str, &str); 13] = [
    ("feature_projection.layer_norm", "layer_norm"),
    ("feature_projection.projection", "post_extract_proj"),
    ("encoder.layer_norm", "encoder.layer_norm"),
    ("attention.q_proj", "self_attn.q_proj"),
    ("attention.k_proj", "self_attn.k_proj"),
    ("attention.v_proj", "self_attn.v_proj"),
    ("attention.out_proj", "self_attn.out_proj"),
    ("attention.gru_rel_pos_const", "self_attn.grep_a"),
    ("attention.gru_rel_pos_linear", "self_attn.grep_linear"),
    ("attention.rel_attn_embed", "self_attn.relative_attention_bias"),
    ("feed_forward.intermediate_dense", "fc1"),
    ("feed_forward.output_dense", "fc2"),
    ("final_layer_norm", "final_layer_norm"),
];

/// The name in fairseq of a tensor that transformers calls `name`. `has` says whether the checkpoint has a name: three
/// modules are numbered by what surrounds them.
pub(super) fn fairseq_name(name: &str, has: impl Fn(&str) -> bool) -> String {
    if let Some(rest) = name.strip_prefix("feature_extractor.conv_layers.") {
        let norm = if has("feature_extractor.conv_layers.0.2.1.weight") { ".2.1." } else { ".2." };
        let rest = rest.replacen(".conv.", ".0.", 1).replacen(".layer_norm.", norm, 1);
        return format!("feature_extractor.conv_layers.{rest}");
    }
    if let Some(rest) = name.strip_prefix("encoder.pos_conv_embed.") {
        let after_batch_norm = has("encoder.pos_conv.0.running_mean");
        let conv = if after_batch_norm { "1." } else { "0." };
        let rest = match rest.strip_prefix("layers.") {
            Some(layer) => layer.replacen(".conv.", ".0.", 1),
            None => rest.replacen("conv.", conv, 1).replacen("batch_norm.", "0.", 1),
        };
        return format!("encoder.pos_conv.{rest}");
    }
    match ENCODER.iter().find(|(theirs, _)| name.contains(theirs)) {
        Some((transformers, fairseq)) => name.replacen(transformers, fairseq, 1),
        None => name.replacen(".layer_norm.", ".self_attn_layer_norm.", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names from fairseq's `state_dict`s.
    #[test]
    fn the_modules_of_fairseq() {
        for (name, fairseq) in [
            ("feature_extractor.conv_layers.6.conv.weight", "feature_extractor.conv_layers.6.0.weight"),
            ("feature_extractor.conv_layers.0.layer_norm.bias", "feature_extractor.conv_layers.0.2.bias"),
            ("feature_projection.layer_norm.weight", "layer_norm.weight"),
            ("feature_projection.projection.bias", "post_extract_proj.bias"),
            ("encoder.pos_conv_embed.conv.weight_g", "encoder.pos_conv.0.weight_g"),
            ("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.0.bias"),
            ("encoder.pos_conv_embed.layers.4.conv.weight", "encoder.pos_conv.4.0.weight"),
            ("encoder.layer_norm.weight", "encoder.layer_norm.weight"),
            ("encoder.layers.11.attention.out_proj.weight", "encoder.layers.11.self_attn.out_proj.weight"),
            ("encoder.layers.3.layer_norm.weight", "encoder.layers.3.self_attn_layer_norm.weight"),
            ("encoder.layers.3.final_layer_norm.bias", "encoder.layers.3.final_layer_norm.bias"),
            ("encoder.layers.3.feed_forward.output_dense.bias", "encoder.layers.3.fc2.bias"),
            ("encoder.layers.0.attention.gru_rel_pos_const", "encoder.layers.0.self_attn.grep_a"),
            (
                "encoder.layers.0.attention.rel_attn_embed.weight",
                "encoder.layers.0.self_attn.relative_attention_bias.weight",
            ),
        ] {
            assert_eq!(fairseq_name(name, |_| false), fairseq);
        }
        let layer_norm = |name: &str| name == "feature_extractor.conv_layers.0.2.1.weight";
        assert_eq!(
            fairseq_name("feature_extractor.conv_layers.3.layer_norm.bias", layer_norm),
            "feature_extractor.conv_layers.3.2.1.bias"
        );
        let batch_norm = |name: &str| name == "encoder.pos_conv.0.running_mean";
        for (name, fairseq) in [
            ("encoder.pos_conv_embed.batch_norm.running_var", "encoder.pos_conv.0.running_var"),
            ("encoder.pos_conv_embed.conv.weight", "encoder.pos_conv.1.weight"),
        ] {
            assert_eq!(fairseq_name(name, batch_norm), fairseq);
        }
    }
}
