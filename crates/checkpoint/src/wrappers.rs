//! Removing the names of wrapper modules that training adds: `layers.0._orig_mod.attention…` becomes
//! `layers.0.attention…`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Checkpoint, Listing, MappedFile, TensorBytes};
use crate::{CheckpointError, Result};

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
const ENCODER: [&str; 3] = ["feature_extractor", "feature_projection", "encoder"];

/// A key without wrapper names.
pub(crate) fn unwrapped(key: &str) -> Cow<'_, str> {
    if !key.split('.').any(|part| part == MODULE || WRAPPERS.contains(&part)) {
        return Cow::Borrowed(key);
    }
    let mut within_encoder = false;
    let kept = key.split('.').filter(|part| {
        within_encoder |= ENCODER.contains(part);
        !(WRAPPERS.contains(part) || within_encoder && *part == MODULE)
    });
    Cow::Owned(kept.collect::<Vec<_>>().join("."))
}

/// A checkpoint presented without wrapper names.
struct Unwrapped {
    checkpoint: Box<dyn Checkpoint>,
    listing: Listing,
}

/// The checkpoint itself, or a view of it without wrapper names.
///
/// # Errors
/// [`CheckpointError::SameName`] if two tensors then have the same name.
pub(crate) fn unwrap(path: &Path, checkpoint: Box<dyn Checkpoint>) -> Result<Box<dyn Checkpoint>> {
    let listing = checkpoint.listing();
    let names = || listing.tensors.keys().chain(listing.foreign.keys());
    if names().all(|name| matches!(unwrapped(name), Cow::Borrowed(_))) {
        return Ok(checkpoint);
    }
    let mut originals: BTreeMap<String, String> = BTreeMap::new();
    for name in names() {
        if let Some(first) = originals.insert(unwrapped(name).into_owned(), name.clone()) {
            let (path, second) = (path.to_path_buf(), name.clone());
            return Err(CheckpointError::SameName { path, name: unwrapped(&first).into_owned(), first, second });
        }
    }
    let renamed = |name: &String| unwrapped(name).into_owned();
    let tensors = listing.tensors.iter().map(|(name, info)| (renamed(name), info.clone())).collect();
    let foreign: BTreeMap<_, _> = listing.foreign.iter().map(|(name, kind)| (renamed(name), kind.clone())).collect();
    originals.retain(|name, original| name != original);
    let listing = Listing { tensors, foreign, wrapped: originals, ..listing.clone() };
    Ok(Box::new(Unwrapped { checkpoint, listing }))
}

impl Unwrapped {
    fn original<'a>(&'a self, name: &'a str) -> &'a str {
        self.listing.wrapped.get(name).map_or(name, String::as_str)
    }
}

impl Checkpoint for Unwrapped {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        self.checkpoint.files()
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.checkpoint.is_in_place(self.original(name))
    }

    fn read(&self, name: &str) -> io::Result<TensorBytes<'_>> {
        self.checkpoint.read(self.original(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_out_and_modules_of_that_name_are_not() {
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
            assert_eq!(unwrapped(key), expected);
        }
    }
}
