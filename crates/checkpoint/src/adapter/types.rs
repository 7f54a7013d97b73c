//! An adapter, its origin, and the user's choice of one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::layer::{AdapterTensor, LoraLayer};

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
