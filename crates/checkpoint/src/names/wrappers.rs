//! The names of wrapper modules in tensor names, which training adds: `layers.0._orig_mod.attention…` becomes
//! `layers.0.attention…`.

use std::borrow::Cow;

use super::encoder::ENCODER_MODULES;

/// Attributes in which wrappers store the wrapped module. No model has a module of such a name.
const WRAPPERS: [&str; 5] = [
    "_orig_mod",                  // torch.compile
    "_fsdp_wrapped_module",       // FSDP
    "_fpw_module",                // fairscale's FSDP
    "_checkpoint_wrapped_module", // activation checkpointing
    "_forward_module",            // Lightning's Fabric
];

/// The attribute of DataParallel, DistributedDataParallel and AveragedModel; elsewhere an arbitrary module name. Inside
/// an encoder's modules, which have no `module` of their own, it is a wrapper's. Before them it is part of the prefix.
const MODULE: &str = "module";

/// A key without wrapper names.
pub(crate) fn strip_wrappers(key: &str) -> Cow<'_, str> {
    if !key.split('.').any(|part| part == MODULE || WRAPPERS.contains(&part)) {
        return Cow::Borrowed(key);
    }
    let mut in_encoder = false;
    let kept = key.split('.').filter(|part| {
        in_encoder |= ENCODER_MODULES.contains(part);
        !(WRAPPERS.contains(part) || in_encoder && *part == MODULE)
    });
    Cow::Owned(kept.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapper_names_are_removed_and_other_modules_of_that_name_stay() {
        for (key, expected) in [
            ("encoder.layers.0._orig_mod.attention.q_proj.weight", "encoder.layers.0.attention.q_proj.weight"),
            ("_orig_mod.module.encoder.layer_norm.bias", "module.encoder.layer_norm.bias"),
            (
                "_fsdp_wrapped_module.encoder.layers.1._fsdp_wrapped_module._checkpoint_wrapped_module.layer_norm.bias",
                "encoder.layers.1.layer_norm.bias",
            ),
            ("model.encoder.module.layers.0.layer_norm.bias", "model.encoder.layers.0.layer_norm.bias"),
            ("feature_extractor.module.conv_layers.0.conv.weight", "feature_extractor.conv_layers.0.conv.weight"),
            (
                "module.feature_extractor.conv_layers.0.conv.weight",
                "module.feature_extractor.conv_layers.0.conv.weight",
            ),
            ("head.module.weight", "head.module.weight"),
            ("head.modules.weight", "head.modules.weight"),
            ("head.weight", "head.weight"),
        ] {
            assert_eq!(strip_wrappers(key), expected);
        }
    }
}
