//! Recognition of checkpoints that are not a plain state dict of the model, by tensor names and shapes.

use mert_arch::CONV0_WEIGHT;

use super::Listing;

/// Name components: one of a name's dot-separated components must equal one of `parts`, or start with one that ends in
/// `*`.
struct Sign {
    parts: &'static [&'static str],
    what: &'static str,
    fix: &'static str,
}

/// Names of modifications to weights, without which the weights are another model's.
const CHANGED: &[Sign] = &[
    Sign {
        parts: &["lora_*", "base_layer", "modules_to_save", "ia3_l", "oft_*", "boft_*", "hada_*", "vera_lambda_*"],
        what: "adapters (PEFT, LoRA) beside the weights that they change",
        fix: "merge them in Python, `model = model.merge_and_unload()`, and save model.state_dict()",
    },
    Sign {
        parts: &["flat_param", "_flat_param"],
        what: "flattened parameters of FSDP (LOCAL_STATE_DICT, one rank's part)",
        fix: "save the whole model on rank 0 with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, \
              options=StateDictOptions(full_state_dict=True))",
    },
    Sign {
        parts: &["_packed_params", "SCB", "absmax", "quant_map", "nested_absmax", "qweight", "qzeros", "zero_point"],
        what: "quantized weights",
        fix: "save the float model's state_dict(), from before it was quantized",
    },
];

/// A predicate for another implementation's names, and a sentence about it.
type Other = (fn(&str) -> bool, &'static str);

/// Name predicates for other implementations of the same models.
const OTHERS: &[Other] = &[
    (
        |name| {
            name.ends_with("feature_extractor.conv_layers.0.0.weight")
                || ["w2v_encoder", "post_extract_proj", "mask_emb"]
                    .iter()
                    .any(|part| name.split('.').any(|p| p == *part))
        },
        "the names are fairseq's, which cannot be read yet; convert it for transformers first (with fairseq and \
         transformers 4): `python -m transformers.models.hubert.convert_hubert_original_pytorch_checkpoint_to_pytorch \
         --checkpoint_path CHECKPOINT --pytorch_dump_folder_path FOLDER`",
    ),
    (
        |name| name.contains("encoder.transformer.") || name.contains("encoder.feature_projection."),
        "the names are torchaudio's (`encoder.transformer.…`), which cannot be read; give the same weights as \
         transformers names them, such as facebook/hubert-base-ls960 from the hub",
    ),
];

impl Sign {
    fn in_name(&self, name: &str) -> bool {
        name.split('.').any(|part| {
            self.parts.iter().any(|sign| match sign.strip_suffix('*') {
                Some(beginning) => part.starts_with(beginning),
                None => part == *sign,
            })
        })
    }
}

/// The problem of a checkpoint with the encoder's names under `prefix`, apart from missing and unexpected tensors: a
/// sentence with the first affected name.
pub fn changed(listing: &Listing, prefix: &str) -> Option<String> {
    let empty = listing.tensors.get(&format!("{prefix}{CONV0_WEIGHT}")).filter(|info| info.shape == [0]);
    if empty.is_some() {
        return Some(format!(
            "`{prefix}{CONV0_WEIGHT}` has shape [0]: its values are elsewhere, as DeepSpeed ZeRO-3 and FSDP partition weights \
             over files. Of DeepSpeed, put them together with the script in the checkpoint's folder: `python zero_to_fp32.py \
             . output`, and give the folder `output`; of FSDP, save the model with full_state_dict=True"
        ));
    }
    let names = || listing.tensors.keys().chain(listing.foreign.keys()).map(String::as_str);
    let here = names().filter_map(|name| name.strip_prefix(prefix));
    let other = OTHERS.iter().find(|(found, _)| here.clone().any(found)).map(|(_, sentence)| sentence.to_string());
    other.or_else(|| changed_names(names(), prefix))
}

fn changed_names<'a>(names: impl Iterator<Item = &'a str> + Clone, prefix: &str) -> Option<String> {
    CHANGED.iter().find_map(|sign| {
        let name = names.clone().find(|name| sign.in_name(name.strip_prefix(prefix).unwrap_or_default()))?;
        Some(format!("it holds {} (`{name}`); {}", sign.what, sign.fix))
    })
}

/// A sentence about the likely model in a checkpoint without the encoder's names.
pub(crate) fn other_model<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let other = OTHERS.iter().find(|(found, _)| names.clone().any(found));
    other.map(|(_, sentence)| sentence.to_string()).or_else(|| changed_names(names, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (name, word) in [
            ("w2v_encoder.w2v_model.mask_emb", "fairseq"),
            ("feature_extractor.conv_layers.0.0.weight", "fairseq"),
            ("encoder.transformer.layers.0.attention.k_proj.weight", "torchaudio"),
            ("encoder.layers.0.attention.q_proj.lora_A.weight", "merge_and_unload"),
            ("_fsdp_wrapped_module.encoder._flat_param", "full_state_dict"),
            ("encoder.layers.0.attention.q_proj._packed_params.dtype", "quantized"),
        ] {
            let said = other_model([name].into_iter()).unwrap();
            assert!(said.contains(word), "{said}");
        }
        for name in ["transformer.h.0.attn.weight", "encoder.layers.0.layer_norm.weight", "explora_A.weight"] {
            assert_eq!(other_model([name].into_iter()), None);
        }
        let names = ["head.lora_A.weight", "model.encoder.layers.0.layer_norm.weight"];
        assert_eq!(changed_names(names.into_iter(), "model."), None);
    }
}
