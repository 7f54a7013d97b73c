//! The modules of a HuBERT encoder, whose tensors all take part in the forward pass.

/// The top-level modules of transformers' `HubertModel`.
pub(super) const ENCODER_MODULES: [&str; 3] = ["feature_extractor", "feature_projection", "encoder"];

/// Whether a tensor is inside the encoder's modules, given the encoder's prefix.
pub fn is_in_encoder(prefix: &str, name: &str) -> bool {
    let module = name.strip_prefix(prefix).and_then(|name| name.split_once('.'));
    module.is_some_and(|(module, _)| ENCODER_MODULES.contains(&module))
}
