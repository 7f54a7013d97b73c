//! Adapters between the weights of a checkpoint: the state dict of a PEFT model, as it is or inside a training wrapper.
//!
//! PEFT keeps a changed layer's own weight as `….base_layer.weight` beside `….lora_A.NAME.weight`, and a replaced module's
//! as `….original_module.weight` beside `….modules_to_save.NAME.weight`. The view has the model's names without them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mert_arch::naming::find_schemes;
use mert_fs::MappedFile;

use super::error::AdapterError;
use super::keys::parse;
use super::layer::AdapterTensor;
use super::modules::Modules;
use super::scales::Scales;
use super::types::{Adapter, AdapterOptions, AdapterOrigin};
use crate::checkpoint::{Checkpoint, Listing, TensorInfo};
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// The name of an adapter whose key has none, as loralib saves it.
const UNNAMED: &str = "default";

/// The tensors of a checkpoint's adapters.
#[derive(Debug, Default)]
pub(crate) struct EmbeddedTensors {
    /// The modules' parts, by adapter.
    modules: BTreeMap<String, Modules>,
    /// The tensors that replace one of the model, by adapter and by the name of that tensor.
    replaced: BTreeMap<String, BTreeMap<String, AdapterTensor>>,
    /// A key of a layer that an adapter wrapped.
    wrapped: Option<String>,
}

impl EmbeddedTensors {
    /// A tensor that shows an adapter; `None` if there is none.
    pub(crate) fn evidence(&self) -> Option<&str> {
        let parts = self.modules.values().flat_map(|modules| modules.parts.values()).flat_map(BTreeMap::values);
        let replaced = self.replaced.values().flat_map(BTreeMap::values);
        parts.chain(replaced).map(|tensor| tensor.key.as_str()).next().or(self.wrapped.as_deref())
    }

    /// Whether the adapters' own tensors are in the checkpoint.
    pub(crate) fn is_empty(&self) -> bool {
        self.modules.is_empty() && self.replaced.is_empty()
    }

    /// The adapter that is to be merged: the only one, or the one that the options name.
    ///
    /// # Errors
    /// [`AdapterError::Ambiguous`] for several, [`AdapterError::UnknownScale`] if neither a configuration nor the options
    /// state the scale, and the errors of the configuration.
    pub(crate) fn choose(mut self, path: &Path, config: Option<&Path>, options: &AdapterOptions) -> Result<Adapter> {
        let names: BTreeSet<String> = self.modules.keys().chain(self.replaced.keys()).cloned().collect();
        let listed = || names.iter().map(|name| format!("`{name}`")).collect();
        let chosen = match &options.name {
            Some(name) if names.contains(name) => name.clone(),
            Some(name) => return Err(AdapterError::UnknownName { name: name.clone(), names: listed() }.of(path)),
            None => match names.iter().collect::<Vec<_>>()[..] {
                [only] => only.clone(),
                _ => return Err(AdapterError::Ambiguous { names: listed() }.of(path)),
            },
        };
        let modules = self.modules.remove(&chosen).unwrap_or_default();
        let replaced = self.replaced.remove(&chosen).unwrap_or_default();
        let other_adapters = self.keys();
        let (layers, notes) = if modules.parts.is_empty() {
            (BTreeMap::new(), Vec::new())
        } else {
            let mut layers = modules.assemble().map_err(|error| error.of(path))?;
            let scales = Scales::new(path, config, options.alpha, &layers)?;
            scales.set_all(&mut layers).map_err(|error| error.of(path))?;
            (layers, scales.notes())
        };
        Ok(Adapter { origin: AdapterOrigin::Embedded(chosen), layers, replaced, notes, other_adapters })
    }

    /// The keys of all tensors.
    pub(crate) fn keys(&self) -> Vec<String> {
        let parts = self.modules.values().flat_map(|modules| modules.parts.values()).flat_map(BTreeMap::values);
        let replaced = self.replaced.values().flat_map(BTreeMap::values);
        parts.chain(replaced).map(|tensor| tensor.key.clone()).collect()
    }

    /// Adds a tensor of an adapter; `false` if it is the model's own.
    fn add(&mut self, key: &str, info: &TensorInfo) -> std::result::Result<bool, AdapterError> {
        let tensor = AdapterTensor { key: key.to_string(), info: info.clone() };
        if let Some(parsed) = parse(key) {
            let Some(part) = parsed.part.filter(|_| !parsed.is_transposed) else {
                let reason = "it is an adapter's, but not of LoRA or DoRA of a linear layer";
                return Err(AdapterError::UnsupportedTensor { name: key.to_string(), reason });
            };
            let modules = self.modules.entry(parsed.adapter.unwrap_or(UNNAMED).to_string()).or_default();
            modules.add(&strip(parsed.module), part, tensor);
            return Ok(true);
        }
        let Some((module, (name, rest))) =
            key.split_once(".modules_to_save.").and_then(|(module, rest)| Some((module, rest.split_once('.')?)))
        else {
            return Ok(false);
        };
        let replaced = self.replaced.entry(name.to_string()).or_default();
        replaced.insert(strip(&format!("{module}.{rest}")), tensor);
        Ok(true)
    }
}

/// A name without the modules in which PEFT keeps a layer's own weights.
fn strip(name: &str) -> String {
    name.split('.').filter(|part| *part != "base_layer" && *part != "original_module").collect::<Vec<_>>().join(".")
}

/// A checkpoint presented without the adapters in it.
struct Unadapted {
    checkpoint: Box<dyn Checkpoint>,
    listing: Listing,
    /// The names that the inner checkpoint lists, by those without `base_layer`.
    originals: BTreeMap<String, String>,
}

/// The checkpoint itself, or a view of the model without the adapters in it, and their tensors.
///
/// # Errors
/// [`CheckpointError::Adapter`] for tensors of other methods; [`CheckpointError::SameName`] if two tensors then have the same
/// name.
pub(crate) fn without_adapters(
    path: &Path,
    checkpoint: Box<dyn Checkpoint>,
) -> Result<(Box<dyn Checkpoint>, EmbeddedTensors)> {
    let listing = checkpoint.listing();
    let mut found = EmbeddedTensors::default();
    let is_wrapped = |name: &str| name.split('.').any(|part| part == "base_layer" || part == "original_module");
    let names = || listing.tensors.keys().chain(listing.non_tensors.keys());
    if !names().any(|name| is_wrapped(name) || parse(name).is_some() || name.contains("modules_to_save.")) {
        return Ok((checkpoint, found));
    }
    // A file of an adapter alone is examined by `find_prefix`, which says so.
    let stripped: Vec<String> = listing.tensors.keys().map(|name| strip(name)).collect();
    if find_schemes(stripped.iter().map(String::as_str)).is_empty() {
        return Ok((checkpoint, found));
    }
    let mut unadapted = Listing { tensors: BTreeMap::new(), non_tensors: BTreeMap::new(), ..listing.clone() };
    let mut originals = BTreeMap::new();
    for (key, info) in &listing.tensors {
        if found.add(key, info).map_err(|error| error.of(path))? {
            unadapted.adapter_tensors.insert(key.clone(), info.clone());
            continue;
        }
        let name = strip(key);
        if name != *key {
            found.wrapped.get_or_insert_with(|| key.clone());
            unadapted.wrapped.insert(name.clone(), listing.name_in_file(key));
        }
        unadapted.tensors.insert(name.clone(), info.clone());
        if let Some(first) = originals.insert(name.clone(), key.clone()) {
            return Err(CheckpointError::SameName { path: path.to_path_buf(), name, first, second: key.clone() });
        }
    }
    unadapted.non_tensors = listing.non_tensors.iter().map(|(name, kind)| (strip(name), kind.clone())).collect();
    Ok((Box::new(Unadapted { checkpoint, listing: unadapted, originals }), found))
}

impl Unadapted {
    /// The name in the inner checkpoint.
    fn original<'a>(&'a self, name: &'a str) -> &'a str {
        self.originals.get(name).map_or(name, String::as_str)
    }
}

impl Checkpoint for Unadapted {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        self.checkpoint.files()
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.checkpoint.is_in_place(self.original(name))
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        self.checkpoint.read(self.original(name))
    }
}
