//! Recognition of tensors inside the encoder's modules that no MERT or HuBERT has: their origin and what to do. None of
//! them may be dropped, because the rest would compute another function.

use mert_arch::{printable_line, weight_norm};

/// The modules of a HuBERT encoder. Every tensor in them takes part in the forward pass.
const MODULES: [&str; 3] = ["feature_extractor.", "feature_projection.", "encoder."];

/// Whether a tensor is inside the encoder's modules, given the encoder's prefix.
pub(crate) fn is_inside(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|name| MODULES.iter().any(|module| name.starts_with(module)))
}

/// Name components of an architecture or tool. A tensor matches if one of its name's dot-separated components equals
/// one of `parts`, or matches its leading or trailing `*`.
struct Sign {
    parts: &'static [&'static str],
    what: &'static str,
    fix: &'static str,
}

const NOT_SUPPORTED: &str = "it is not supported; give a MERT or HuBERT checkpoint";
const FLOAT: &str = "save the state_dict() of the float model, from before it was quantized";

const SIGNS: &[Sign] = &[
    Sign {
        parts: &["gru_rel_pos_linear", "gru_rel_pos_const", "rel_attn_embed"],
        what: "WavLM (its gated relative position bias)",
        fix: NOT_SUPPORTED,
    },
    Sign {
        parts: &["lora_*", "base_layer", "modules_to_save"],
        what: "an adapter (LoRA) beside the weights that it changes",
        fix: "merge it, `model = model.merge_and_unload()`, and save model.state_dict()",
    },
    Sign {
        parts: &["adapter_layer", "adapter", "adapters", "adapter_*", "bottleneck*"],
        what: "adapters inside the layers (wav2vec2's MMS and the like)",
        fix: "they change what every layer computes and are not supported; give the model from before they were added",
    },
    Sign {
        parts: &["weight_orig", "weight_mask", "bias_orig", "bias_mask"],
        what: "pruning (torch.nn.utils.prune)",
        fix: "make it permanent, `prune.remove(module, \"weight\")` for every pruned module, and save model.state_dict()",
    },
    Sign {
        parts: &["SCB", "absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state*", "weight_format"],
        what: "weights quantized by bitsandbytes",
        fix: FLOAT,
    },
    Sign {
        parts: &["_packed_params", "qweight", "qzeros", "zero_point", "scales", "scale", "weight_scale", "input_scale"],
        what: "quantized weights",
        fix: FLOAT,
    },
    Sign {
        parts: &["ffn1", "ffn2", "conv_module", "pos_bias_u", "pos_bias_v", "distance_embedding"],
        what: "a Conformer (wav2vec2-conformer, wav2vec2-bert)",
        fix: NOT_SUPPORTED,
    },
    Sign {
        parts: &["in_proj_weight", "in_proj_bias", "qkv_proj", "qkv"],
        what: "attention with queries, keys and values in one tensor",
        fix: "give the same weights as transformers names them (q_proj, k_proj, v_proj)",
    },
    Sign { parts: &["upsample", "pool"], what: "SEW (it pools and upsamples frames)", fix: NOT_SUPPORTED },
    Sign {
        parts: &["running_mean", "running_var", "num_batches_tracked", "batch_norm"],
        what: "BatchNorm (conv_pos_batch_norm in config.json)",
        fix: "only weight norm is supported in the positional convolution",
    },
    Sign {
        parts: &["weight_u"],
        what: "spectral norm (torch.nn.utils.spectral_norm)",
        fix: "take it off, `remove_spectral_norm(module)`, and save model.state_dict()",
    },
    Sign {
        parts: &["ema", "shadow", "*_ema", "*_shadow"],
        what: "averaged copies (EMA) beside the weights",
        fix: "save the state_dict() of the one model that you mean",
    },
    Sign {
        parts: &["_extra_state", "amax*", "scale_inv"],
        what: "TransformerEngine's state (FP8)",
        fix: "save the state_dict() of the model in float32",
    },
];

const DATA2VEC: Sign =
    Sign { parts: &[], what: "data2vec-audio (several positional convolutions)", fix: NOT_SUPPORTED };
const PARAMETRIZED: Sign = Sign {
    parts: &[],
    what: "a parametrization of another weight than the positional convolution's",
    fix: "take it off, `torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\")`, and save \
          model.state_dict()",
};
const WEIGHT_NORM: Sign = Sign {
    parts: &[],
    what: "weight norm of another module than the positional convolution",
    fix: "take it off, `torch.nn.utils.remove_weight_norm(module)`, and save model.state_dict()",
};

impl Sign {
    fn matches(&self, part: &str) -> bool {
        self.parts.iter().any(|sign| match (sign.strip_suffix('*'), sign.strip_prefix('*')) {
            (Some(beginning), _) => part.starts_with(beginning),
            (_, Some(ending)) => part.ends_with(ending),
            _ => part == *sign,
        })
    }
}

/// The origin of a tensor inside the encoder, by its name without the prefix.
fn sign(name: &str) -> Option<&'static Sign> {
    let known = weight_norm::SPELLINGS.iter().any(|spelling| name == spelling.g || name == spelling.v);
    if known {
        return None;
    }
    if name.starts_with("encoder.pos_conv_embed.layers.") {
        return Some(&DATA2VEC);
    }
    let parts = || name.split('.');
    if let Some(found) = SIGNS.iter().find(|sign| parts().any(|part| sign.matches(part))) {
        return Some(found);
    }
    match () {
        () if parts().any(|part| part == "parametrizations") => Some(&PARAMETRIZED),
        () if parts().any(|part| part == "weight_g" || part == "weight_v") => Some(&WEIGHT_NORM),
        () => None,
    }
}

/// A sentence about the first of `names` that belongs to another encoder than HuBERT's or modifies its weights; `None`
/// if there is none.
pub(crate) fn other_encoder<'a>(names: impl Iterator<Item = &'a str> + Clone, prefix: &str) -> Option<String> {
    let inside = names.filter(|name| is_inside(prefix, name));
    let of = |name: &str| sign(name.strip_prefix(prefix).unwrap_or_default());
    let (first, found) = inside.clone().find_map(|name| Some((name, of(name)?)))?;
    let count = inside.filter(|name| of(name).is_some_and(|sign| std::ptr::eq(sign, found))).count();
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    Some(format!(
        "it holds `{}`{others} inside the encoder, which looks like {}; {}. They cannot be left out: the rest would compute \
         something else",
        printable_line(first),
        found.what,
        found.fix
    ))
}

#[cfg(test)]
mod tests {
    use mert_arch::{Config, inventory};

    use super::*;

    #[test]
    fn what_is_inside_is_told_apart() {
        for (name, words) in [
            ("encoder.layers.0.attention.gru_rel_pos_linear.weight", &["WavLM"][..]),
            ("encoder.layers.1.adapter_layer.linear_1.weight", &["adapters"]),
            ("encoder.layers.0.attention.q_proj.lora_A.default.weight", &["LoRA", "merge_and_unload"]),
            ("encoder.layers.0.attention.q_proj.weight_orig", &["pruning", "prune.remove"]),
            ("encoder.layers.0.attention.q_proj.parametrizations.weight.original", &["remove_parametrizations"]),
            ("encoder.layers.0.attention.q_proj.weight_g", &["remove_weight_norm"]),
            ("encoder.layers.0.attention.q_proj.weight_u", &["remove_spectral_norm"]),
            ("encoder.layers.0.attention.q_proj.SCB", &["bitsandbytes"]),
            ("encoder.layers.0.ffn1.intermediate_dense.weight", &["Conformer"]),
            ("encoder.pos_conv_embed.layers.0.conv.weight", &["data2vec"]),
            ("encoder.pos_conv_embed.batch_norm.running_mean", &["BatchNorm", "conv_pos_batch_norm"]),
            ("encoder.layers.0.attention.q_proj.weight_ema", &["EMA"]),
        ] {
            let said = other_encoder([format!("hubert.{name}").as_str()].into_iter(), "hubert.").unwrap();
            assert!(words.iter().all(|word| said.contains(word)) && said.contains(name), "{name}: {said}");
            assert_eq!(other_encoder([name].into_iter(), "hubert."), None, "{name} is not under the prefix");
        }
    }

    /// No tensor name of the family is a sign.
    #[test]
    fn what_belongs_there_is_no_sign() {
        let layer = mert_arch::FeatureExtractorNorm::Layer;
        let config = Config { conv_bias: true, feat_extract_norm: layer, ..Config::mert_v1_95m() };
        let spellings =
            weight_norm::SPELLINGS.iter().flat_map(|spelling| [spelling.g.to_string(), spelling.v.to_string()]);
        let names: Vec<String> = inventory(&config).into_iter().map(|spec| spec.name).chain(spellings).collect();
        assert!(names.iter().all(|name| is_inside("", name)));
        assert_eq!(other_encoder(names.iter().map(String::as_str), ""), None);
        for outside in ["quantizer.weight_proj.weight", "adapter.layers.0.conv.weight", "encoder_ema", "n_averaged"] {
            assert!(!is_inside("", outside), "{outside}");
        }
    }
}
