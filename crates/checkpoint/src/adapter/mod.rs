//! Low-rank adapters (LoRA, rsLoRA, DoRA): their tensors by the module that they change, and the scale of each.
//!
//! - this file: an adapter, and the user's choice of one.
//! - `open.rs`: a folder or file of PEFT or mlx-lm; `embedded.rs`: an adapter between the weights of a checkpoint.
//! - `peft.rs`, `mlx_lm.rs`: the two configurations; `pattern.rs`: PEFT's values by pattern.
//! - `keys.rs`: the meaning of a key; `layer.rs`: the parts of one layer, checked against each other.
//! - `choose.rs`: the adapter of a conversion, and the refusal of one that would be lost.
//! - `attached.rs`: a view of a checkpoint with the tensors of an adapter's file.
//!
//! Nothing is computed here: `mert-convert` merges the adapter.

mod attached;
mod choose;
mod embedded;
mod error;
mod keys;
mod layer;
mod mlx_lm;
mod open;
mod pattern;
mod peft;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use attached::with_adapter_tensors;
pub(crate) use choose::Found;
pub(crate) use embedded::without_adapters;
pub use error::AdapterError;
use keys::Part;
pub use layer::{AdapterTensor, LoraLayer};
use layer::{Parts, assemble, checked_scale};
use mlx_lm::MlxLmConfig;
use open::OpenAdapter;
use peft::PeftConfig;

use crate::Result;
use crate::text::read_text;

/// The user's choice of an adapter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterOptions {
    /// The folder or file of an adapter to merge.
    pub path: Option<PathBuf>,
    /// The adapter to merge, if the checkpoint holds several.
    pub name: Option<String>,
    /// The alpha of an adapter without a configuration: its scale is alpha / rank.
    pub alpha: Option<f64>,
    /// Whether the model is converted without the adapter that it has.
    pub ignore: bool,
}

/// The origin of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterOrigin {
    /// A file that PEFT saved, or one of its form.
    Peft(PathBuf),
    /// A file that mlx-lm saved.
    MlxLm(PathBuf),
    /// The checkpoint itself: the adapter of this name.
    Embedded(String),
}

impl fmt::Display for AdapterOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdapterOrigin::Peft(path) => write!(f, "{} (PEFT)", path.display()),
            AdapterOrigin::MlxLm(path) => write!(f, "{} (mlx-lm)", path.display()),
            AdapterOrigin::Embedded(name) => write!(f, "`{name}` in the checkpoint"),
        }
    }
}

/// An adapter that is to be merged into a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The origin.
    pub origin: AdapterOrigin,
    /// The changes of linear layers, by the layer's path.
    pub layers: BTreeMap<String, LoraLayer>,
    /// The tensors that replace one of the model (`modules_to_save`, trained biases), by the name of that tensor.
    pub replaced: BTreeMap<String, AdapterTensor>,
    /// Notes about options that have no effect, one sentence each.
    pub notes: Vec<String>,
    /// The tensors of the checkpoint's other adapters, which are left out.
    pub other_adapters: Vec<String>,
}

/// The changes of linear layers, by the layer's path.
type Layers = BTreeMap<String, LoraLayer>;

/// What states the scales of an adapter's modules.
enum Scales {
    Peft(PeftConfig),
    MlxLm(MlxLmConfig),
    /// The alpha that the user gave.
    Alpha(f64),
}

impl Scales {
    /// Reads `adapter_config.json`, or takes the user's alpha.
    ///
    /// # Errors
    /// [`AdapterError::UnknownScale`] if there is neither, [`AdapterError::ScaleStatedTwice`] for both, and the errors of the
    /// configuration.
    fn new(path: &Path, config: Option<&Path>, alpha: Option<f64>, layers: &Layers) -> Result<Self> {
        let config = match (config, alpha) {
            (Some(config), None) => config,
            (Some(config), Some(_)) => return Err(AdapterError::ScaleStatedTwice.of(config)),
            (None, Some(alpha)) => return Ok(Scales::Alpha(alpha)),
            (None, None) => {
                let rank = layers.values().next().map_or(0, |layer| layer.rank);
                return Err(AdapterError::UnknownScale { rank }.of(path));
            }
        };
        let text = read_text(config)?;
        let scales = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(json) if json.get("peft_type").is_some() => PeftConfig::from_json(&text).map(Scales::Peft),
            Ok(json) if json.get("lora_parameters").is_some() || json.get("fine_tune_type").is_some() => {
                MlxLmConfig::from_json(&text).map(Scales::MlxLm)
            }
            Ok(_) => Err(AdapterError::Json("neither PEFT's (`peft_type`) nor mlx-lm's (`lora_parameters`)".into())),
            Err(error) => Err(AdapterError::Json(error.to_string())),
        };
        scales.map_err(|error| error.of(config))
    }

    /// Sets the scale of every layer.
    fn set_all(&self, layers: &mut Layers) -> std::result::Result<(), AdapterError> {
        layers.iter_mut().try_for_each(|(module, layer)| self.set(module, layer))
    }

    fn set(&self, module: &str, layer: &mut LoraLayer) -> std::result::Result<(), AdapterError> {
        match self {
            Scales::Peft(config) => config.set_scale(module, layer),
            Scales::MlxLm(config) => config.set_scale(module, layer),
            Scales::Alpha(alpha) => {
                let origin = format!("--lora-alpha {alpha}, rank {}", layer.rank);
                layer.scale = checked_scale(module, alpha / layer.rank as f64, &origin)?;
                Ok(())
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Scales::Peft(config) => config.notes.clone(),
            Scales::MlxLm(_) | Scales::Alpha(_) => Vec::new(),
        }
    }
}

/// The modules' parts, before their scales are known.
#[derive(Debug, Clone, Default, PartialEq)]
struct Modules {
    /// The parts of each module.
    parts: BTreeMap<String, Parts>,
    /// Whether factors are stored as mlx-lm stores them.
    is_transposed: bool,
}

impl Modules {
    /// Adds a part of a module.
    fn add(&mut self, module: &str, part: Part, tensor: AdapterTensor) {
        self.parts.entry(module.to_string()).or_default().insert(part, tensor);
    }

    /// The layers, whose parts fit each other, without scales.
    fn assemble(self) -> std::result::Result<Layers, AdapterError> {
        let layer = |(module, parts): (String, Parts)| {
            let layer = assemble(&module, parts, self.is_transposed)?;
            Ok((module, layer))
        };
        self.parts.into_iter().map(layer).collect()
    }
}
