//! The weights of linear layers as a converted file stores them, read and decoded without the runtime, so that a defect of the
//! file is told from one of the program that runs it.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_arch::{Dtype, Encoding, TensorSpec};
use mert_fs::MappedFile;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as StoredDtype, SafeTensors};

use super::StoredWeight;
use crate::quantized::{PackedWeight, decode};
use crate::{Result, VerifyError};

/// The files that hold the tensors of a converted model.
pub(super) struct StoredWeights {
    path: PathBuf,
    files: Vec<MappedFile>,
}

impl StoredWeights {
    /// Opens the files of a model; those that are not safetensors are left out. `path` is the model's own.
    ///
    /// # Errors
    /// [`VerifyError::Read`].
    pub(super) fn open(path: &Path, files: &[&Path]) -> Result<Self> {
        let is_safetensors = |file: &&&Path| file.extension().is_some_and(|extension| extension == "safetensors");
        let map = |file: &&Path| MappedFile::open(file).map_err(|source| VerifyError::read(file, source));
        let files = files.iter().filter(is_safetensors).map(map).collect::<Result<_>>()?;
        Ok(StoredWeights { path: path.to_path_buf(), files })
    }

    /// Reads and decodes a weight whose encoding is `stated`, apart from the type of its floats, which is as stored.
    ///
    /// # Errors
    /// [`VerifyError::Weight`] for a weight whose parts do not belong together.
    pub(super) fn read(&self, spec: &TensorSpec, stated: Encoding) -> Result<StoredWeight> {
        let failed = |reason: String| VerifyError::Weight { path: self.path.clone(), name: spec.name.clone(), reason };
        let opened: Vec<SafeTensors<'_>> =
            self.files.iter().filter_map(|file| SafeTensors::deserialize(file.bytes()).ok()).collect();
        let get = |name: &str| -> Result<TensorView<'_>> {
            let found = opened.iter().find_map(|file| file.tensor(name).ok());
            found.ok_or_else(|| failed(format!("tensor `{name}` is missing")))
        };
        let values = match stated {
            Encoding::Float(_) => {
                let stored = get(&spec.name)?;
                let dtype = float(stored.dtype()).ok_or_else(|| failed(format!("it has type {:?}", stored.dtype())))?;
                StoredWeight { encoding: Encoding::Float(dtype), values: widen(stored.data(), dtype) }
            }
            Encoding::Quantized { quantization, float: stated_float } => {
                let module = spec.name.strip_suffix(".weight").unwrap_or(&spec.name);
                let (codes, scales) = (get(&spec.name)?, get(&format!("{module}.scales"))?);
                let biases = match quantization.has_biases() {
                    true => Some(get(&format!("{module}.biases"))?),
                    false => None,
                };
                let float = float(scales.dtype()).unwrap_or(stated_float);
                let weight = PackedWeight {
                    codes: codes.data(),
                    scales: scales.data(),
                    biases: biases.as_ref().map(|biases| biases.data()).unwrap_or_default(),
                    float,
                };
                let reason = || failed(format!("its codes, scales and biases are not those of {quantization}"));
                let values = decode(weight, quantization).ok_or_else(reason)?;
                StoredWeight { encoding: Encoding::Quantized { quantization, float }, values }
            }
        };
        let expected: usize = spec.shape.iter().product();
        if values.values.len() != expected {
            return Err(failed(format!("it has {} values, expected {expected}", values.values.len())));
        }
        Ok(values)
    }
}

fn float(stored: StoredDtype) -> Option<Dtype> {
    match stored {
        StoredDtype::F16 => Some(Dtype::F16),
        StoredDtype::BF16 => Some(Dtype::Bf16),
        StoredDtype::F32 => Some(Dtype::F32),
        _ => None,
    }
}

fn widen(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
}
