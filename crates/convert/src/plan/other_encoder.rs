//! Recognition of tensors inside the encoder's modules that no supported family has: their origin and what to do. None of
//! them may be dropped, because the remaining tensors would compute another function.

use mert_arch::{printable_line, weight_norm};
use mert_checkpoint::{has_component, is_in_encoder, modification_in_encoder};

/// An architecture or tool, and the components of tensor names that show it (see [`has_component`]).
struct Origin {
    components: &'static [&'static str],
    what: &'static str,
    fix: &'static str,
}

const NOT_SUPPORTED: &str = "it is not supported; give a checkpoint of a supported family";

const ORIGINS: &[Origin] = &[
    Origin {
        components: &["adapter_layer", "adapter", "adapters", "adapter_*", "bottleneck*"],
        what: "adapters inside the layers (wav2vec2's MMS and the like)",
        fix: "they change what every layer computes and are not supported; give the model from before they were added",
    },
    Origin {
        components: &["weight_orig", "weight_mask", "bias_orig", "bias_mask"],
        what: "pruning (torch.nn.utils.prune)",
        fix: "make it permanent, `prune.remove(module, \"weight\")` for every pruned module, and save model.state_dict()",
    },
    Origin {
        components: &["ffn1", "ffn2", "conv_module", "pos_bias_u", "pos_bias_v", "distance_embedding"],
        what: "a Conformer (wav2vec2-conformer, wav2vec2-bert)",
        fix: NOT_SUPPORTED,
    },
    Origin {
        components: &["in_proj_weight", "in_proj_bias", "qkv_proj", "qkv"],
        what: "attention with queries, keys and values in one tensor",
        fix: "give the same weights as transformers names them (q_proj, k_proj, v_proj)",
    },
    Origin { components: &["upsample", "pool"], what: "SEW (it pools and upsamples frames)", fix: NOT_SUPPORTED },
    Origin {
        components: &["running_mean", "running_var", "num_batches_tracked", "batch_norm"],
        what: "BatchNorm outside the positional convolution",
        fix: NOT_SUPPORTED,
    },
    Origin {
        components: &["weight_u"],
        what: "spectral norm (torch.nn.utils.spectral_norm)",
        fix: "remove it, `remove_spectral_norm(module)`, and save model.state_dict()",
    },
    Origin {
        components: &["ema", "shadow", "*_ema", "*_shadow"],
        what: "averaged copies (EMA) beside the weights",
        fix: "save the state_dict() of the intended model alone",
    },
    Origin {
        components: &["_extra_state", "amax*", "scale_inv"],
        what: "TransformerEngine's state (FP8)",
        fix: "save the state_dict() of the model in float32",
    },
    Origin {
        components: &["parametrizations"],
        what: "a parametrization of another weight than the positional convolution's",
        fix: "remove it, `torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\")`, and save \
              model.state_dict()",
    },
    Origin {
        components: &["weight_g", "weight_v"],
        what: "weight norm of another module than the positional convolution",
        fix: "remove it, `torch.nn.utils.remove_weight_norm(module)`, and save model.state_dict()",
    },
];

/// The origin of a tensor inside the encoder, and what to do, by the tensor's name without the prefix.
fn origin(name: &str) -> Option<(&'static str, &'static str)> {
    if weight_norm::SPELLINGS.iter().any(|spelling| name == spelling.g || name == spelling.v) {
        return None;
    }
    if name.starts_with("encoder.pos_conv_embed.batch_norm.") {
        return None;
    }
    let named = || ORIGINS.iter().find(|origin| has_component(name, origin.components));
    modification_in_encoder(name).or_else(|| named().map(|origin| (origin.what, origin.fix)))
}

/// A sentence about the first of `names`, which `name_in_file` shows as the file has it, that belongs to another encoder or
/// modifies its weights; `None` if there is none.
pub(super) fn other_encoder<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    prefix: &str,
    name_in_file: impl Fn(&str) -> String,
) -> Option<String> {
    let adapter = |name: &&str| {
        let name = name.strip_prefix(prefix).unwrap_or_default();
        ["adapter.layers.", "adapter.proj."].iter().any(|beginning| name.starts_with(beginning))
    };
    if let Some(first) = names.clone().find(adapter) {
        return Some(format!(
            "it holds `{}`, an adapter after the encoder (wav2vec2's add_adapter), which changes the model's last output and is \
             not supported; save the model without it in Python, `model.adapter = None; model.config.add_adapter = False; \
             model.save_pretrained(\"…\")`, to convert the hidden states of its encoder",
            printable_line(&name_in_file(first)),
        ));
    }
    let in_encoder = names.filter(|name| is_in_encoder(prefix, name));
    let origin_of = |name: &str| origin(name.strip_prefix(prefix).unwrap_or_default());
    let (first, found) = in_encoder.clone().find_map(|name| Some((name, origin_of(name)?)))?;
    let count = in_encoder.filter(|name| origin_of(name) == Some(found)).count();
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let (what, fix) = found;
    Some(format!(
        "it holds `{}`{others} inside the encoder, which looks like {what}; {fix}. They cannot be left out, because they take \
         part in what the model computes",
        printable_line(&name_in_file(first)),
    ))
}

#[cfg(test)]
mod tests {
    use mert_arch::{Config, inventory};

    use super::*;

    #[test]
    fn origins_are_recognized() {
        for (name, words) in [
            ("encoder.layers.1.adapter_layer.linear_1.weight", &["adapters"][..]),
            ("encoder.layers.0.attention.q_proj.lora_A.default.weight", &["LoRA", "merge_and_unload"]),
            ("encoder.layers.0.attention.q_proj.weight_orig", &["pruning", "prune.remove"]),
            ("encoder.layers.0.attention.q_proj.parametrizations.weight.original", &["remove_parametrizations"]),
            ("encoder.layers.0.attention.q_proj.weight_g", &["remove_weight_norm"]),
            ("encoder.layers.0.attention.q_proj.weight_u", &["remove_spectral_norm"]),
            ("encoder.layers.0.attention.q_proj.SCB", &["bitsandbytes"]),
            ("encoder.layers.0.ffn1.intermediate_dense.weight", &["Conformer"]),
            ("encoder.layers.0.batch_norm.running_mean", &["BatchNorm"]),
            ("encoder.layers.0.attention.q_proj.weight_ema", &["EMA"]),
        ] {
            let message =
                other_encoder([format!("hubert.{name}").as_str()].into_iter(), "hubert.", str::to_string).unwrap();
            assert!(words.iter().all(|word| message.contains(word)) && message.contains(name), "{name}: {message}");
            assert_eq!(
                other_encoder([name].into_iter(), "hubert.", str::to_string),
                None,
                "{name} is not under the prefix"
            );
        }
    }

    #[test]
    fn an_adapter_after_the_encoder_is_refused() {
        let names = ["wav2vec2.adapter.layers.0.conv.weight", "wav2vec2.adapter.proj.weight"];
        let message = other_encoder(names.into_iter(), "wav2vec2.", str::to_string).unwrap();
        assert!(message.contains("add_adapter") && message.contains(names[0]), "{message}");
        assert_eq!(other_encoder(["adapter.weight"].into_iter(), "", str::to_string), None);
    }

    #[test]
    fn names_of_the_family_are_not_recognized_as_others() {
        let layer = mert_arch::FeatureExtractorNorm::Layer;
        let config = Config { conv_bias: true, feat_extract_norm: layer, ..Config::mert_v1_95m() };
        let spellings =
            weight_norm::SPELLINGS.iter().flat_map(|spelling| [spelling.g.to_string(), spelling.v.to_string()]);
        let names: Vec<String> = inventory(&config).into_iter().map(|spec| spec.name).chain(spellings).collect();
        assert!(names.iter().all(|name| is_in_encoder("", name)));
        assert_eq!(other_encoder(names.iter().map(String::as_str), "", str::to_string), None);
        for outside in ["quantizer.weight_proj.weight", "adapter.layers.0.conv.weight", "encoder_ema", "n_averaged"] {
            assert!(!is_in_encoder("", outside), "{outside}");
        }
    }
}
