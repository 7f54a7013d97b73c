//! Checkpoints that are not a plain state dict of the model in transformers' names, recognized by names and shapes.

use mert_arch::CONV0_WEIGHT;

use super::components::has_component;
use super::modifications::modified_names;
use crate::Listing;

/// Names of another implementation in a checkpoint without the tensor that marks a model of it, and a sentence about it.
struct Implementation {
    has_name: fn(&str) -> bool,
    sentence: &'static str,
}

const IMPLEMENTATIONS: &[Implementation] = &[
    Implementation {
        has_name: |name| has_component(name, &["w2v_encoder", "post_extract_proj", "mask_emb", "pos_conv"]),
        sentence: "the names are fairseq's, without the first convolution (`feature_extractor.conv_layers.0.0.weight`): the \
                   model is incomplete; download or save it again",
    },
    Implementation {
        has_name: |name| name.contains("encoder.transformer.") || name.contains("encoder.feature_projection."),
        sentence: "the names are torchaudio's (`encoder.transformer.…`), without the feature extractor: the model is \
                   incomplete; save the state_dict() of the whole model",
    },
];

/// The reason why the weights under `prefix` cannot be converted as they are, apart from missing and unexpected tensors:
/// a sentence with the first affected name.
pub fn modified_weights(listing: &Listing, prefix: &str) -> Option<String> {
    let conv0 = format!("{prefix}{CONV0_WEIGHT}");
    if listing.tensors.get(&conv0).is_some_and(|info| info.shape == [0]) {
        return Some(format!(
            "`{conv0}` has shape [0]: its values are elsewhere, as DeepSpeed ZeRO-3 and FSDP partition weights over files. \
             For DeepSpeed, merge them with the script in the checkpoint's folder: `python zero_to_fp32.py . output`, and \
             give the folder `output`; for FSDP, save the model with full_state_dict=True"
        ));
    }
    let names = || listing.tensors.keys().chain(listing.non_tensors.keys()).map(String::as_str);
    modified_names(names(), prefix)
}

/// A sentence about the likely model in a checkpoint without the encoder's names.
pub(super) fn other_model<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    implementation(names.clone()).or_else(|| modified_names(names, ""))
}

fn implementation<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let found = IMPLEMENTATIONS.iter().find(|implementation| names.clone().any(implementation.has_name))?;
    Some(found.sentence.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_models_are_recognized() {
        for (name, word) in [
            ("w2v_encoder.w2v_model.mask_emb", "fairseq"),
            ("encoder.pos_conv.0.weight_v", "fairseq"),
            ("encoder.transformer.layers.0.attention.k_proj.weight", "torchaudio"),
            ("encoder.layers.0.attention.q_proj.lora_A.weight", "merge_and_unload"),
            ("_fsdp_wrapped_module.encoder._flat_param", "full_state_dict"),
            ("encoder.layers.0.attention.q_proj._packed_params.dtype", "quantized"),
        ] {
            let sentence = other_model([name].into_iter()).unwrap();
            assert!(sentence.contains(word), "{sentence}");
        }
        for name in ["transformer.h.0.attn.weight", "encoder.layers.0.layer_norm.weight", "explora_A.weight"] {
            assert_eq!(other_model([name].into_iter()), None);
        }
    }
}
