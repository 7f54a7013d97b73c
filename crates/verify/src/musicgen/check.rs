//! A bundle and its references: opened, run part by part, judged.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mert_arch::{CONFIG_FILE, Dtype, LayerSelection};
use mert_musicgen::LanguageModel;
use mert_musicgen::bundle::Bundle;
use safetensors::tensor::Metadata;
use serde_json::Value;

use super::against;
use super::limits::{BundleLimits, Exactness};
use super::parts::{self, Parts};
use super::reference::MusicgenReference;
use super::verdict::{BundleComparison, BundleVerdict};
use crate::{Result, VerifyError};

/// A bundle to check.
#[derive(Debug, Clone, Default)]
pub struct BundleCheck {
    /// The bundle.
    pub bundle: PathBuf,
    /// The references.
    pub references: Vec<PathBuf>,
    /// Another bundle of the same model, such as the one in f16, from whose logits the divergence is measured.
    pub against: Option<PathBuf>,
    /// The hidden states to compare.
    pub layers: LayerSelection,
    /// The largest mean KL divergence of the logits in nats, instead of the one for the number of bits.
    pub max_kl: Option<f64>,
}

/// Whether a path is a folder with the configuration of a MusicGen model, by its `model_type`.
pub fn is_bundle(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path.join(CONFIG_FILE)) else { return false };
    let value: Option<Value> = serde_json::from_slice(&bytes).ok();
    let model_type = value.as_ref().and_then(|value| value.get("model_type")).and_then(Value::as_str);
    matches!(model_type, Some("musicgen" | "instruct_musicgen"))
}

impl BundleCheck {
    /// Runs the check.
    ///
    /// # Errors
    /// [`VerifyError`] if the bundle cannot be opened or a reference not be read, and
    /// [`VerifyError::NothingToCompare`] without references.
    pub fn run(&self) -> Result<BundleVerdict> {
        let bundle = Bundle::open(&self.bundle)?;
        let (mut lm, cp) = LanguageModel::open(&bundle)?;
        // What is judged is the stored model, not the rounding of cached keys and values.
        lm.keep_f32();
        let exactness = exactness(&self.bundle)?;
        let mut limits = exactness.limits();
        limits.kl = self.max_kl.unwrap_or(limits.kl);
        let states = bundle.config().model.decoder.num_hidden_layers + 1;
        let layers = self.layers.resolve(states)?;
        let parts = Parts { bundle: &bundle, lm: &lm, cp: cp.as_ref(), limits, layers };
        let mut comparisons = Vec::new();
        for path in &self.references {
            comparisons.push(compare(&parts, &MusicgenReference::read(path)?)?);
        }
        if let Some(other) = &self.against {
            comparisons.push(against::compare(&parts, other)?);
        }
        if comparisons.is_empty() {
            let bundle = self.bundle.display();
            let message = format!("{bundle}: nothing to compare with: give --reference FILE.npz or --against BUNDLE");
            return Err(VerifyError::NothingToCompare(message));
        }
        let bundle = self.bundle.display().to_string();
        Ok(BundleVerdict { bundle, exactness: exactness.to_string(), comparisons })
    }
}

/// Compares all parts with a reference.
fn compare(parts: &Parts<'_>, reference: &MusicgenReference) -> Result<BundleComparison> {
    let mut comparison = BundleComparison {
        reference: reference.path.display().to_string(),
        parts: Vec::new(),
        not_compared: Vec::new(),
    };
    let of_part = |part: &str| -> Result<BundleLimits> {
        let folder = parts.bundle.folder().join(part);
        // Without the folder the part is not compared, whatever its limits.
        if folder.is_dir() { Ok(exactness(&folder)?.limits()) } else { Ok(parts.limits) }
    };
    let (t5, encodec) = (of_part("t5")?, of_part("encodec")?);
    for part in [
        parts::text_states(parts, reference, &t5)?,
        parts::conditioning(parts, reference)?,
        parts::prefix(parts, reference)?,
        parts::language_model(parts, reference)?,
        parts::tokens(parts, reference)?,
        parts::codec(parts, reference, &encodec)?,
    ] {
        match part {
            Ok(verdicts) => comparison.parts.extend(verdicts),
            Err(reason) => comparison.not_compared.push(reason),
        }
    }
    if comparison.parts.is_empty() {
        let (path, reasons) = (reference.path.display(), comparison.not_compared.join("; "));
        return Err(VerifyError::NothingToCompare(format!("{path}: no part can be compared: {reasons}")));
    }
    Ok(comparison)
}

/// The precision of the weights in a folder, by the headers of its safetensors files and its `config.json`.
pub(super) fn exactness(folder: &Path) -> Result<Exactness> {
    let mut dtypes = BTreeSet::new();
    let entries = std::fs::read_dir(folder).map_err(|source| VerifyError::read(folder, source))?;
    for entry in entries {
        let path = entry.map_err(|source| VerifyError::read(folder, source))?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            dtypes.extend(stored_types(&path)?);
        }
    }
    if dtypes.contains("U32") {
        return Ok(Exactness::Quantized(fewest_bits(folder)));
    }
    Ok(match (dtypes.contains("BF16"), dtypes.contains("F16")) {
        (true, _) => Exactness::Half(Dtype::Bf16),
        (false, true) => Exactness::Half(Dtype::F16),
        (false, false) => Exactness::F32,
    })
}

/// The element types of a file's tensors.
fn stored_types(path: &Path) -> Result<BTreeSet<String>> {
    let read = |source| VerifyError::read(path, source);
    let mut file = File::open(path).map_err(read)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(read)?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length)).read_to_end(&mut header).map_err(read)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| read(error.into()))?;
    Ok(metadata.tensors().values().map(|info| format!("{:?}", info.dtype)).collect())
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
