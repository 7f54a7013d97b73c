//! The tensors of an adapter by the module that they change.

use std::collections::BTreeMap;

use super::error::AdapterError;
use super::keys::Part;
use super::layer::{AdapterTensor, LoraLayer, Parts, assemble};

/// The changes of linear layers, by the layer's path.
pub(super) type Layers = BTreeMap<String, LoraLayer>;

/// The modules' parts, before their scales are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Modules {
    /// The parts of each module.
    pub(super) parts: BTreeMap<String, Parts>,
    /// Whether factors are stored as mlx-lm stores them.
    pub(super) is_transposed: bool,
}

impl Modules {
    /// Adds a part of a module.
    pub(super) fn add(&mut self, module: &str, part: Part, tensor: AdapterTensor) {
        self.parts.entry(module.to_string()).or_default().insert(part, tensor);
    }

    /// The layers, whose parts fit each other, without scales.
    pub(super) fn assemble(self) -> Result<Layers, AdapterError> {
        let layer = |(module, parts): (String, Parts)| {
            let layer = assemble(&module, parts, self.is_transposed)?;
            Ok((module, layer))
        };
        self.parts.into_iter().map(layer).collect()
    }
}
