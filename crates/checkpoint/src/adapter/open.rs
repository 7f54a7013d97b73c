//! An adapter's folder or file, as PEFT or mlx-lm saves it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_arch::{ADAPTER_CONFIG_FILE, printable_line};

use super::error::AdapterError;
use super::keys::{Part, parse};
use super::layer::AdapterTensor;
use super::modules::Modules;
use super::scales::Scales;
use super::types::{Adapter, AdapterOrigin};
use crate::Result;
use crate::checkpoint::{Checkpoint, Listing};
use crate::open::open_file;
use crate::paths::file_name;

/// The files of an adapter's tensors, in the order in which PEFT looks for them; the last is mlx-lm's.
const WEIGHT_FILES: [&str; 3] = ["adapter_model.safetensors", "adapter_model.bin", "adapters.safetensors"];

/// What PEFT puts before the names of the model in an adapter's file.
const PEFT_PREFIX: &str = "base_model.model.";

/// An adapter and its open file.
pub(crate) struct OpenAdapter {
    pub(crate) adapter: Adapter,
    pub(crate) checkpoint: Box<dyn Checkpoint>,
    /// The file's name, which the keys of its tensors begin with.
    pub(crate) file_name: String,
}

impl OpenAdapter {
    /// Opens the folder or file of an adapter, with the `adapter_config.json` in the folder.
    ///
    /// # Errors
    /// [`CheckpointError::Adapter`] if it is not a LoRA adapter that can be merged; errors of reading.
    pub(crate) fn open(path: &Path, alpha: Option<f64>) -> Result<Self> {
        let file = weights(path)?;
        let config = file.parent().unwrap_or(Path::new("")).join(ADAPTER_CONFIG_FILE);
        let config = Some(config).filter(|config| config.is_file());
        let checkpoint = open_file(&file, None)?;
        let adapter = read(&file, checkpoint.listing(), config.as_deref(), alpha)?;
        Ok(OpenAdapter { adapter, checkpoint, file_name: file_name(&file) })
    }
}

/// An adapter's file, opened beside a model of any kind.
pub struct AdapterFile {
    /// The changes, by the paths of the modules in the adapted model. Their keys begin with [`AdapterFile::key_start`].
    pub adapter: Adapter,
    /// The reader of the file.
    pub checkpoint: Box<dyn Checkpoint>,
    /// The beginning of the adapter's keys, which the file's own keys do not have: `FILE:`.
    pub key_start: String,
}

/// Opens the folder or file of an adapter of PEFT or mlx-lm. `alpha` is that of an adapter without a configuration.
///
/// # Errors
/// [`CheckpointError::Adapter`](crate::CheckpointError::Adapter) if it is not a LoRA adapter that can be merged; errors of
/// reading.
pub fn open_adapter(path: &Path, alpha: Option<f64>) -> Result<AdapterFile> {
    let OpenAdapter { adapter, checkpoint, file_name } = OpenAdapter::open(path, alpha)?;
    Ok(AdapterFile { adapter, checkpoint, key_start: format!("{file_name}:") })
}

/// The file of an adapter's tensors.
fn weights(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let found = WEIGHT_FILES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let reason = format!("the folder has none of {}, an adapter's tensors", WEIGHT_FILES.join(", "));
        AdapterError::NotFound(reason).of(path)
    })
}

/// Reads the names and shapes of an adapter's tensors, and its configuration.
fn read(file: &Path, listing: &Listing, config: Option<&Path>, alpha: Option<f64>) -> Result<Adapter> {
    let (modules, replaced) = modules(&file_name(file), listing).map_err(|error| error.of(file))?;
    let is_mlx_lm = modules.is_transposed;
    let mut layers = modules.assemble().map_err(|error| error.of(file))?;
    let scales = Scales::new(file, config, alpha, &layers)?;
    let contradiction = match (&scales, is_mlx_lm) {
        (Scales::Peft(_), true) => Some("PEFT's (`peft_type`), but the tensors are mlx-lm's (`lora_a`)"),
        (Scales::MlxLm(_), false) => Some("mlx-lm's (`lora_parameters`), but the tensors are PEFT's (`lora_A`)"),
        _ => None,
    };
    if let Some(reason) = contradiction {
        return Err(AdapterError::Json(reason.into()).of(file));
    }
    let origin = match is_mlx_lm {
        true => AdapterOrigin::MlxLm(file.to_path_buf()),
        false => AdapterOrigin::Peft(file.to_path_buf()),
    };
    scales.set_all(&mut layers).map_err(|error| error.of(file))?;
    Ok(Adapter { origin, layers, replaced, notes: scales.notes(), other_adapters: Vec::new() })
}

/// The tensors that replace one of the model, by that tensor's name.
type Replaced = BTreeMap<String, AdapterTensor>;

/// Sorts an adapter's tensors by module; keys of [`Listing::adapter_tensors`] begin with `file_name`.
fn modules(file_name: &str, listing: &Listing) -> Result<(Modules, Replaced), AdapterError> {
    if let Some((key, kind)) = listing.non_tensors.first_key_value() {
        return Err(AdapterError::NotFound(format!("`{key}` is a pickled `{kind}`, not a tensor")));
    }
    let is_mlx_lm = listing.tensors.keys().any(|key| key.ends_with(".lora_a"));
    let mut modules = Modules { is_transposed: is_mlx_lm, ..Modules::default() };
    let mut replaced = Replaced::new();
    for (key, info) in &listing.tensors {
        let tensor = AdapterTensor { key: format!("{file_name}:{key}"), info: info.clone() };
        let path = key.strip_prefix(PEFT_PREFIX).unwrap_or(key);
        let has_factors = |module: &&str| is_mlx_lm && listing.tensors.contains_key(&format!("{module}.lora_a"));
        if let Some(module) = path.strip_suffix(".m").filter(has_factors) {
            modules.add(module, Part::Magnitude, tensor);
            continue;
        }
        let Some(parsed) = parse(path) else {
            // PEFT saves trained biases under the name of the layer that it wrapped.
            replaced.insert(path.replace(".base_layer.", ".").replace(".modules_to_save.", "."), tensor);
            continue;
        };
        match parsed.part {
            Some(part) if parsed.adapter.is_none() && parsed.is_transposed == is_mlx_lm => {
                modules.add(parsed.module, part, tensor);
            }
            Some(_) => {
                let reason = "expected the keys of one adapter, as PEFT's save_pretrained or mlx-lm writes them; the state dict \
                              of a whole model is converted as the checkpoint itself";
                return Err(AdapterError::NotFound(format!("tensor `{}`: {reason}", printable_line(key))));
            }
            None => {
                let reason = "it is not of LoRA or DoRA of a linear layer";
                return Err(AdapterError::UnsupportedTensor { name: key.clone(), reason });
            }
        }
    }
    if modules.parts.is_empty() {
        let reason = "none of its tensors is one of LoRA (`….lora_A.weight`, `….lora_a`)";
        return Err(AdapterError::NotFound(reason.into()));
    }
    Ok((modules, replaced))
}
