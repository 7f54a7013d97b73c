//! Tools that modify weights, recognized by tensor names: without the modification the weights are another model's.

use super::components::has_component;

/// A modification of weights, and the names that show it.
struct Modification {
    /// Components of names that show it anywhere under the model's prefix.
    anywhere: &'static [&'static str],
    /// Components that show it inside the encoder's modules only; elsewhere they are too common.
    in_encoder: &'static [&'static str],
    what: &'static str,
    fix: &'static str,
}

/// Names of bitsandbytes, and those of GPTQ, AWQ, PyTorch and MLX.
const QUANTIZED: [&[&str]; 4] = [
    &["SCB", "absmax", "quant_map", "nested_absmax"],
    &["nested_quant_map", "quant_state*", "weight_format"],
    &["_packed_params", "qweight", "qzeros", "zero_point"],
    &["scales", "scale", "weight_scale", "input_scale"],
];

const FLOAT: &str = "save the state_dict() of the float model, from before it was quantized";

const MODIFICATIONS: &[Modification] = &[
    Modification {
        anywhere: &["lora_*", "modules_to_save"],
        in_encoder: &[],
        what: "an adapter (LoRA) without the model that it changes",
        fix: "give that model as the input and the adapter with --adapter (mert-convert), or merge it in Python, `model = \
              model.merge_and_unload()`, and save model.state_dict()",
    },
    Modification {
        anywhere: &["base_layer", "ia3_l", "oft_*", "boft_*", "hada_*", "lokr_*", "vera_lambda_*"],
        in_encoder: &[],
        what: "adapters (PEFT, LoRA) beside the weights that they change",
        fix: "merge them in Python, `model = model.merge_and_unload()`, and save model.state_dict()",
    },
    Modification {
        anywhere: &["flat_param", "_flat_param"],
        in_encoder: &[],
        what: "flattened parameters of FSDP (LOCAL_STATE_DICT, one rank's part)",
        fix: "save the whole model on rank 0 with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, \
              options=StateDictOptions(full_state_dict=True))",
    },
    Modification {
        anywhere: QUANTIZED[0],
        in_encoder: QUANTIZED[1],
        what: "weights quantized by bitsandbytes",
        fix: FLOAT,
    },
    Modification { anywhere: QUANTIZED[2], in_encoder: QUANTIZED[3], what: "quantized weights", fix: FLOAT },
];

/// The modification that a tensor inside the encoder shows, and what to do, by its name without the prefix.
pub fn modification_in_encoder(name: &str) -> Option<(&'static str, &'static str)> {
    let found = MODIFICATIONS.iter().find(|modification| {
        has_component(name, modification.anywhere) || has_component(name, modification.in_encoder)
    });
    found.map(|modification| (modification.what, modification.fix))
}

/// Whether a tensor shows quantized weights.
pub(crate) fn quantization_in_encoder(name: &str) -> bool {
    QUANTIZED.iter().any(|patterns| has_component(name, patterns))
}

/// A sentence about the first of `names` under `prefix` that shows a modification.
pub(super) fn modified_names<'a>(names: impl Iterator<Item = &'a str> + Clone, prefix: &str) -> Option<String> {
    MODIFICATIONS.iter().find_map(|modification| {
        let is_modified = |name: &&str| {
            let name = name.strip_prefix(prefix).unwrap_or_default();
            has_component(name, modification.anywhere)
        };
        let name = names.clone().find(is_modified)?;
        Some(format!("it holds {} (`{name}`); {}", modification.what, modification.fix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_prefix_are_not_the_model_s() {
        let names = ["head.lora_A.weight", "model.encoder.layers.0.layer_norm.weight"];
        assert_eq!(modified_names(names.into_iter(), "model."), None);
    }

    #[test]
    fn common_names_show_a_modification_in_the_encoder_only() {
        let name = "encoder.layers.0.attention.q_proj.weight_scale";
        assert_eq!(modification_in_encoder(name).unwrap().0, "quantized weights");
        assert_eq!(modified_names([name].into_iter(), ""), None);
    }
}
