//! The codes of a quantized bundle beside the floats of another bundle of the same model: each weight must hold what
//! `mx.quantize` makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_arch::{CONFIG_FILE, Dtype, Encoding, Quantization, QuantizationConfig};
use mert_fs::MappedFile;
use safetensors::{Dtype as Stored, SafeTensors};
use serde_json::Value;

use super::verdict::{Figure, PartVerdict};
use crate::quantized::{PackedWeight, check_weight, decode};
use crate::{Result, VerifyError};

/// The files of a bundle's weights.
struct Weights {
    files: Vec<(PathBuf, MappedFile)>,
}

impl Weights {
    fn open(folder: &Path) -> Result<Self> {
        let read = |source| VerifyError::read(folder, source);
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                let file = MappedFile::open(&path).map_err(|source| VerifyError::read(&path, source))?;
                files.push((path, file));
            }
        }
        Ok(Weights { files })
    }

    /// The tensors of all files.
    fn tensors(&self) -> Result<BTreeMap<String, (Stored, &[u8])>> {
        let mut tensors = BTreeMap::new();
        for (path, file) in &self.files {
            let damaged = |error: safetensors::SafeTensorError| VerifyError::read(path, std::io::Error::other(error));
            let views = SafeTensors::deserialize(file.bytes()).map_err(damaged)?;
            tensors.extend(views.iter().map(|(name, view)| (name.to_string(), (view.dtype(), view.data()))));
        }
        Ok(tensors)
    }
}

/// The verdict on the codes of all weights of `bundle` that are quantized and are floats in `original`; `None` if there are
/// none.
pub(super) fn compare(bundle: &Path, original: &Path) -> Result<Option<PartVerdict>> {
    let (ours, theirs) = (Weights::open(bundle)?, Weights::open(original)?);
    let (ours, theirs) = (ours.tensors()?, theirs.tensors()?);
    let quantization = quantization(bundle)?;
    let (mut weights, mut values, mut different, mut worst) = (0usize, 0usize, 0usize, None);
    for (name, (_, scales)) in ours.iter().filter(|(name, _)| name.ends_with(".scales")) {
        let module = name.trim_end_matches(".scales");
        let [weight, biases] = ["weight", "biases"].map(|part| ours.get(&format!("{module}.{part}")));
        let (Some((_, codes)), Some((stored, biases))) = (weight, biases) else { continue };
        let (Some(expected), Some(float)) = (theirs.get(&format!("{module}.weight")), float(*stored)) else { continue };
        let (Some(expected), Some(quantization)) = (widened(expected), quantization.layer(module)) else { continue };
        let found = decode(PackedWeight { codes, scales, biases, float }, quantization);
        let Some(found) = found.filter(|found| found.len() == expected.len()) else {
            let fault = format!("`{module}`: its codes, scales and biases do not belong together at {quantization}");
            return Ok(Some(PartVerdict::fault("codes", fault)));
        };
        let verdict = check_weight(&expected, &found, Encoding::Quantized { quantization, float });
        (weights, values, different) = (weights + 1, values + verdict.values, different + verdict.different);
        if verdict.different > 0 && worst.is_none() {
            worst = Some(module.to_string());
        }
    }
    let part = worst.map_or("codes".to_string(), |worst| format!("codes, first in {worst}"));
    let figures = vec![
        Figure { name: "differing values", value: different as f64, limit: Some(0.0) },
        Figure { name: "of", value: values as f64, limit: None },
        Figure { name: "weights", value: weights as f64, limit: None },
    ];
    Ok((weights > 0).then_some(PartVerdict { part, figures, fault: None }))
}

/// The quantization of a bundle's layers.
fn quantization(bundle: &Path) -> Result<QuantizationConfig> {
    let path = bundle.join(CONFIG_FILE);
    let bytes = fs::read(&path).map_err(|source| VerifyError::read(&path, source))?;
    let value: Option<Value> = serde_json::from_slice(&bytes).ok();
    let stated = value.as_ref().and_then(|value| value.get("quantization"));
    let default = Quantization { group_size: 64, bits: 4, mode: mert_arch::QuantizationMode::Affine };
    match stated {
        None => Ok(QuantizationConfig { default, layers: BTreeMap::new() }),
        Some(stated) => QuantizationConfig::from_value(stated).map_err(|reason| VerifyError::array(&path, reason)),
    }
}

fn float(dtype: Stored) -> Option<Dtype> {
    match dtype {
        Stored::F32 => Some(Dtype::F32),
        Stored::F16 => Some(Dtype::F16),
        Stored::BF16 => Some(Dtype::Bf16),
        _ => None,
    }
}

/// The values of floats; `None` for another type.
fn widened((dtype, bytes): &(Stored, &[u8])) -> Option<Vec<f32>> {
    Some(match float(*dtype)? {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
    })
}
