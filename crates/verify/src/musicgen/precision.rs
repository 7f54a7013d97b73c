//! The precision of a bundle's parts: which weights are quantized, in which type the others are, and the limits that follow for
//! each part.

use std::collections::BTreeMap;
use std::path::Path;

use mert_arch::naming::MusicgenNames;
use mert_arch::{CONFIG_FILE, Dtype};
use safetensors::Dtype as Stored;
use serde_json::Value;

use super::limits::{BundleLimits, Exactness};
use super::tensors::header_types;
use crate::Result;

/// The text's projection.
const PROJECTION: &str = "text_conditioner.output_proj";

/// The precision of a language model's parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Precision {
    /// The precision of the whole.
    pub(super) exactness: Exactness,
    limits: BundleLimits,
    floats: BundleLimits,
    quantized_projection: bool,
    /// The first layer with a quantized weight, of its own or of its `merge_linear`.
    first_quantized: Option<usize>,
}

impl Precision {
    /// The precision of the weights in a folder with these names.
    ///
    /// # Errors
    /// [`crate::VerifyError::Read`].
    pub(super) fn of(folder: &Path, names: MusicgenNames) -> Result<Self> {
        let types = header_types(folder, names)?;
        let quantized = || types.keys().filter_map(|name| name.strip_suffix(".scales"));
        let exactness = exactness_of(&types, folder);
        Ok(Precision {
            exactness,
            limits: exactness.limits(),
            floats: float_exactness(&types).limits(),
            quantized_projection: quantized().any(|module| module == PROJECTION),
            first_quantized: quantized().filter(|module| *module != PROJECTION).map(layer_of).min(),
        })
    }

    /// The limits for the whole, with another largest divergence.
    pub(super) fn limits(&self, max_kl: Option<f64>) -> BundleLimits {
        BundleLimits { kl: max_kl.unwrap_or(self.limits.kl), ..self.limits }
    }

    /// The largest NMSE of the projected text.
    pub(super) fn projection(&self) -> f64 {
        if self.quantized_projection { self.limits.direct } else { self.floats.direct }
    }

    /// The largest NMSE of hidden state `index`, which `index` layers have computed.
    pub(super) fn hidden_state(&self, index: usize) -> f64 {
        match (index, self.first_quantized) {
            // Embeddings and positions, which the loader takes as floats only.
            (0, _) => self.floats.direct,
            (_, Some(first)) if index > first => self.limits.after(index),
            _ => self.floats.states,
        }
    }

    /// The largest NMSE of the input's queries, keys and values in a layer.
    pub(super) fn prefix(&self, layer: usize) -> f64 {
        match self.first_quantized {
            Some(first) if layer >= first => self.limits.prefix(layer),
            _ => self.floats.states,
        }
    }
}

/// The precision of the weights in a folder, by the headers of its safetensors files and its `config.json`.
///
/// # Errors
/// [`crate::VerifyError::Read`].
pub(super) fn exactness(folder: &Path) -> Result<Exactness> {
    Ok(exactness_of(&header_types(folder, MusicgenNames::Mlx)?, folder))
}

fn exactness_of(types: &BTreeMap<String, Stored>, folder: &Path) -> Exactness {
    match types.values().any(|stored| *stored == Stored::U32) {
        true => Exactness::Quantized(fewest_bits(folder)),
        false => float_exactness(types),
    }
}

/// The precision of the floats.
fn float_exactness(types: &BTreeMap<String, Stored>) -> Exactness {
    let has = |dtype| types.values().any(|stored| *stored == dtype);
    match (has(Stored::BF16), has(Stored::F16)) {
        (true, _) => Exactness::Half(Dtype::Bf16),
        (false, true) => Exactness::Half(Dtype::F16),
        (false, false) => Exactness::F32,
    }
}

/// The number of the layer that a module belongs to. What has none is taken for the first.
fn layer_of(module: &str) -> usize {
    let rest = module.strip_prefix("lm.layers.").or_else(|| module.strip_prefix("cp_transformer.merge_linear."));
    let number = rest.and_then(|rest| rest.split('.').next()).and_then(|number| number.parse().ok());
    number.unwrap_or(0)
}

/// The fewest bits that the `quantization` of a `config.json` names; 0 if there is none.
fn fewest_bits(folder: &Path) -> usize {
    fn bits(value: &Value) -> Option<u64> {
        let own = value.get("bits").and_then(Value::as_u64);
        let layers = value.as_object().into_iter().flat_map(|fields| fields.values()).filter_map(bits);
        own.into_iter().chain(layers).min()
    }
    let value = std::fs::read(folder.join(CONFIG_FILE)).ok();
    let value: Option<Value> = value.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    value.as_ref().and_then(|value| value.get("quantization")).and_then(bits).unwrap_or(0) as usize
}
