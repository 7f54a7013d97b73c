//! A bundle and its references: opened, run part by part, judged.

use std::path::{Path, PathBuf};

use mert_arch::{CONFIG_FILE, LayerSelection};
use mert_musicgen::LanguageModel;
use mert_musicgen::bundle::Bundle;
use serde_json::Value;

use super::against;
use super::limits::BundleLimits;
use super::missing::BundlePart;
use super::parts::{self, Parts};
use super::precision::{Precision, exactness};
use super::reference::MusicgenReference;
use super::verdict::{BundleComparison, BundleVerdict};
use crate::reference::reference_files;
use crate::{Result, VerifyError};

/// A bundle to check.
#[derive(Debug, Clone, Default)]
pub struct BundleCheck {
    /// The bundle.
    pub bundle: PathBuf,
    /// The references, `.npz` files or folders of them.
    pub references: Vec<PathBuf>,
    /// Another bundle of the same model, such as the one in f16, from whose logits the divergence is measured.
    pub against: Option<PathBuf>,
    /// The hidden states to compare.
    pub layers: LayerSelection,
    /// The parts that the bundle may lack, whatever the references have for them.
    pub allow_missing: Vec<BundlePart>,
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
        let precision = Precision::of(&self.bundle, bundle.config().names)?;
        let limits = precision.limits(self.max_kl);
        let states = bundle.config().model.decoder.num_hidden_layers + 1;
        let layers = self.layers.resolve(states)?;
        let allow_missing = &self.allow_missing;
        let parts = Parts { bundle: &bundle, lm: &lm, cp: cp.as_ref(), limits, precision, allow_missing, layers };
        let mut comparisons = Vec::new();
        for path in &self.references {
            for file in reference_files(path)? {
                comparisons.push(compare(&parts, &MusicgenReference::read(&file)?)?);
            }
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
        Ok(BundleVerdict { bundle, exactness: precision.exactness.to_string(), comparisons })
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
        parts::text_ids(parts, reference)?,
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
