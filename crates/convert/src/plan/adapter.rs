//! The match of an adapter's layers with the checkpoint's tensors: each changes one, is left out with one, or is a problem.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use mert_arch::naming::{HuggingFaceNames, NameTable};
use mert_arch::{Role, TensorSpec, printable_line, training_only_reason};
use mert_checkpoint::{
    Adapter, AdapterOrigin, AdapterTensor, Listing, LoraLayer, Source, SourceDtype, has_component, nearest,
};
use serde::Serialize;

use super::drop_pattern::matches;
use super::step::Dropped;
use crate::Problem;
use crate::transform::{AddScaled, MergeLora, Transform};

/// The adapter that a plan merges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedAdapter {
    /// The path of its file, or its name in the checkpoint.
    pub origin: String,
    /// The kind and name that the output records, without folders: `PEFT adapter_model.safetensors`.
    pub name: String,
    /// The SHA-256 of its file in hexadecimal; `None` for an adapter in the checkpoint.
    pub sha256: Option<String>,
    /// The number of linear layers that it changes, heads included.
    pub layers: usize,
    /// The smallest and the largest factor of B · A.
    pub scales: [f64; 2],
    /// The number of tensors that it replaces, heads included.
    pub replaced: usize,
}

impl PlannedAdapter {
    /// The adapter of a source. Its file is hashed.
    pub(super) fn new(source: &Source) -> Option<Self> {
        let adapter = source.adapter.as_ref()?;
        let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = match &adapter.origin {
            AdapterOrigin::Peft(path) => format!("PEFT {}", file_name(path)),
            AdapterOrigin::MlxLm(path) => format!("mlx-lm {}", file_name(path)),
            AdapterOrigin::Embedded(name) => format!("{name}, in the checkpoint"),
        };
        let scales = adapter.layers.values().map(|layer| layer.scale);
        let extremes = scales.fold([f64::INFINITY, 0.0], |[low, high], scale| [scale.min(low), scale.max(high)]);
        Some(PlannedAdapter {
            origin: adapter.origin.to_string(),
            name: printable_line(&name),
            sha256: source.adapter_sha256(&AtomicBool::new(false)),
            layers: adapter.layers.len(),
            scales: if adapter.layers.is_empty() { [1.0, 1.0] } else { extremes },
            replaced: adapter.replaced.len(),
        })
    }
}

/// The top-level modules of an encoder, whose tensors all take part in the forward pass.
const ENCODER_MODULES: [&str; 3] = ["feature_extractor", "feature_projection", "encoder"];

/// The changes that an adapter makes, by the key of the changed tensor. Steps take what they merge.
#[derive(Default)]
pub(super) struct AdapterChanges<'a> {
    layers: BTreeMap<String, (&'a str, &'a LoraLayer)>,
    biases: BTreeMap<String, &'a LoraLayer>,
    replaced: BTreeMap<String, &'a AdapterTensor>,
    /// The tensors that are left out: of heads, of other adapters, and those that the user drops.
    pub(super) dropped: Vec<Dropped>,
    pub(super) problems: Vec<Problem>,
}

/// The names by which an adapter's modules are looked up in a checkpoint.
pub(super) struct BaseNames<'a> {
    pub(super) listing: &'a Listing,
    /// The prefix of the model's keys.
    pub(super) prefix: &'a str,
    /// The names of the implementation that saved the checkpoint.
    pub(super) table: &'a NameTable,
    /// The patterns of `--drop`.
    pub(super) drop: &'a [String],
}

impl BaseNames<'_> {
    /// The key of the checkpoint's tensor that an adapter calls `name`, with whatever prefix the adapted model had.
    fn key(&self, name: &str) -> Option<String> {
        if self.listing.tensors.contains_key(name) {
            return Some(name.to_string());
        }
        let is_there = |key: &String| self.listing.tensors.contains_key(key);
        suffixes(name).find_map(|suffix| {
            let plain = Some(format!("{}{suffix}", self.prefix)).filter(is_there);
            plain.or_else(|| match self.table.to_hugging_face(suffix) {
                Some(HuggingFaceNames::One(name)) => Some(format!("{}{name}", self.prefix)).filter(is_there),
                _ => None,
            })
        })
    }
}

/// A name and its parts after each dot.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(name.match_indices('.').map(|(at, _)| &name[at + 1..]))
}

/// The name of an adapter's tensor within its file.
fn name_in_adapter(key: &str) -> &str {
    key.split_once(':').map_or(key, |(_, name)| name)
}

/// Whether a `--drop` pattern matches a tensor of an adapter outside the encoder, by its name in the adapter's file.
pub(super) fn is_dropped(pattern: &str, key: &str) -> bool {
    let name = name_in_adapter(key);
    !has_component(name, &ENCODER_MODULES) && suffixes(name).any(|name| matches(pattern, name))
}

impl<'a> AdapterChanges<'a> {
    /// Matches an adapter with a checkpoint.
    pub(super) fn new(adapter: Option<&'a Adapter>, base: &BaseNames<'_>) -> Self {
        let mut changes = AdapterChanges::default();
        let Some(adapter) = adapter else { return changes };
        for (module, layer) in &adapter.layers {
            changes.add_layer(module, layer, base);
        }
        for (name, tensor) in &adapter.replaced {
            match base.key(name) {
                Some(key) => {
                    if let Some(first) = changes.replaced.insert(key.clone(), tensor) {
                        changes.problems.push(twice(key, &first.key, &tensor.key));
                    }
                }
                None => changes.unmatched(name, &tensor.key, base),
            }
        }
        let others = adapter.other_adapters.iter().map(|name| Dropped {
            name: printable_line(name),
            reason: "of an adapter that is not merged (--adapter-name)".into(),
        });
        changes.dropped.extend(others);
        changes
    }

    fn add_layer(&mut self, module: &'a str, layer: &'a LoraLayer, base: &BaseNames<'_>) {
        let Some(key) = base.key(&format!("{module}.weight")) else {
            return self.unmatched(&format!("{module}.weight"), &layer.a.key, base);
        };
        if layer.bias.is_some() {
            let bias = format!("{}bias", key.trim_end_matches("weight"));
            if base.listing.tensors.contains_key(&bias) {
                self.biases.insert(bias, layer);
            } else {
                let name = printable_line(&bias);
                self.problems.push(Problem::AdapterBias { module: printable_line(module), name });
            }
        }
        if let Some((_, first)) = self.layers.insert(key.clone(), (module, layer)) {
            self.problems.push(twice(key, &first.a.key, &layer.a.key));
        }
    }

    /// Drops a tensor of an adapter that changes nothing in the checkpoint for a reason, or records a problem.
    fn unmatched(&mut self, name: &str, key: &str, base: &BaseNames<'_>) {
        let is_head = !has_component(name, &ENCODER_MODULES);
        let reason = if base.drop.iter().any(|pattern| is_dropped(pattern, key)) {
            Some("left out with --drop")
        } else {
            suffixes(name).find_map(training_only_reason).filter(|_| is_head)
        };
        match reason {
            Some(reason) => self.dropped.push(Dropped { name: printable_line(key), reason: reason.into() }),
            None => {
                let candidates = base.listing.tensors.keys().map(String::as_str);
                let nearest = nearest(name, candidates.filter(|name| name.starts_with(base.prefix)));
                self.problems.push(Problem::AdapterUnmatched { name: key.to_string(), nearest, is_head });
            }
        }
    }

    /// The key and type of the tensor that takes the place of a tensor of the checkpoint, if one does.
    pub(super) fn replacement(&mut self, key: &str, shape: &[usize]) -> Option<(String, SourceDtype)> {
        let tensor = self.replaced.remove(key)?;
        if tensor.info.shape != shape {
            let (name, found, expected) = (tensor.key.clone(), tensor.info.shape.clone(), shape.to_vec());
            self.problems.push(Problem::Shape { name, found, expected, hint: " (as the tensor that it replaces)" });
        } else if let SourceDtype::Other(found) = &tensor.info.dtype {
            self.problems.push(Problem::Dtype { name: tensor.key.clone(), found: found.clone() });
        }
        Some((tensor.key.clone(), tensor.info.dtype.clone()))
    }

    /// The transform that merges a change into a tensor of the checkpoint, and the further tensors that it reads.
    pub(super) fn merge(&mut self, key: &str, spec: &TensorSpec) -> Option<(Transform, Vec<(String, SourceDtype)>)> {
        let read = |tensor: &AdapterTensor| (tensor.key.clone(), tensor.info.dtype.clone());
        if let Some(layer) = self.biases.remove(key) {
            let bias = layer.bias.as_ref()?;
            return Some((Transform::AddScaled(AddScaled { scale: layer.scale }), vec![read(bias)]));
        }
        let (module, layer) = self.layers.remove(key)?;
        if spec.role != Role::Linear {
            let (name, module) = (layer.a.key.clone(), printable_line(module));
            self.problems.push(Problem::AdapterRole { name, module });
        } else if spec.shape != layer.weight_shape() {
            let (name, found) = (layer.a.key.clone(), layer.weight_shape().to_vec());
            self.problems.push(Problem::AdapterShape { name, found, expected: spec.shape.clone() });
        }
        let merge = MergeLora {
            rank: layer.rank,
            scale: layer.scale,
            is_transposed: layer.is_transposed,
            has_magnitude: layer.magnitude.is_some(),
        };
        let inputs = [Some(&layer.a), Some(&layer.b), layer.magnitude.as_ref()];
        Some((Transform::MergeLora(merge), inputs.into_iter().flatten().map(read).collect()))
    }

    /// The tensors of the adapter that no step took, with the key of the tensor that each changes.
    pub(super) fn left_over(&self) -> Vec<(String, String)> {
        let layers = self.layers.iter().flat_map(|(key, (_, layer))| layer.weight_keys().map(move |part| (key, part)));
        let biases = self.biases.iter().filter_map(|(key, layer)| Some((key, layer.bias.as_ref()?.key.as_str())));
        let replaced = self.replaced.iter().map(|(key, tensor)| (key, tensor.key.as_str()));
        layers.chain(biases).chain(replaced).map(|(key, part)| (key.clone(), part.to_string())).collect()
    }
}

fn twice(name: String, first: &str, second: &str) -> Problem {
    Problem::AdapterTwice { name, first: first.to_string(), second: second.to_string() }
}
