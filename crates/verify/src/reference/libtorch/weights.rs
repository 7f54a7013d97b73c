//! The weights of an original checkpoint for libtorch. It does not use `mert-convert`'s readers: a conversion is not
//! judged by its own code.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::pickle::PthTensors;
use candle_core::{DType, Device};
use mert_arch::{CONV0_WEIGHT, Dtype, inventory};
use mert_runtime::ConvertedFile;
use tch::Tensor;
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

use super::fairseq_names::{self, fairseq_name};
use crate::reference::negated_view::rebuilds_negated_view;
use crate::{Result, VerifyError};

/// The encoder's tensors in f32.
pub(crate) struct Weights {
    /// The tensors by the checkpoint's own names, without prefix.
    tensors: HashMap<String, Tensor>,
    naming: Naming,
}

/// The implementation whose names a checkpoint has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Transformers,
    /// fairseq, and the original WavLM.
    Fairseq,
}

impl Naming {
    /// The name of the first convolution's weight, of which a model has exactly one.
    fn conv0_weight(self) -> &'static str {
        match self {
            Naming::Transformers => CONV0_WEIGHT,
            Naming::Fairseq => fairseq_names::CONV0_WEIGHT,
        }
    }

    /// Whether a tensor of this name shows a model of either naming.
    fn marks(name: &str) -> bool {
        [Naming::Transformers, Naming::Fairseq].iter().any(|naming| name.ends_with(naming.conv0_weight()))
    }

    /// The implementation that names these tensors, with the prefix before its names; an error says what was found.
    fn of<'a>(names: impl Iterator<Item = &'a String> + Clone) -> std::result::Result<(Naming, &'a str), String> {
        let mut found = Vec::new();
        for naming in [Naming::Transformers, Naming::Fairseq] {
            let prefixes = names.clone().filter_map(|name| name.strip_suffix(naming.conv0_weight()));
            found.extend(prefixes.map(|prefix| (naming, prefix)));
        }
        match found[..] {
            [one] => Ok(one),
            _ => Err(format!(
                "{} tensors are named `…{CONV0_WEIGHT}` or `…{}`, expected one",
                found.len(),
                fairseq_names::CONV0_WEIGHT
            )),
        }
    }
}

/// The keys under which training frameworks nest a model's state dict.
const NESTED: [Option<&str>; 4] = [None, Some("state_dict"), Some("model"), Some("best_state")];

/// The names that a checkpoint may have in a model folder.
const FILES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

impl Weights {
    /// Reads the weights of a torch zip or safetensors file, or of the one in a folder.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = file_in(path)?;
        let failed = |reason: String| VerifyError::Checkpoint { path: file.clone(), reason };
        let candle_tensors = if file.extension().is_some_and(|extension| extension == "safetensors") {
            if is_converted(&file) {
                return Err(failed(
                    "it is a converted file, not the original; a conversion is not judged by itself".into(),
                ));
            }
            candle_core::safetensors::load(&file, &Device::Cpu).map_err(|e| failed(plain(e)))?
        } else {
            read_pickle(&file)?
        };

        let (naming, prefix) = Naming::of(candle_tensors.keys()).map_err(failed)?;
        let mut tensors = HashMap::new();
        for (name, tensor) in &candle_tensors {
            let Some(name) = name.strip_prefix(prefix) else { continue };
            let tensor = to_torch(tensor).map_err(|e| failed(format!("tensor `{name}`: {}", plain(e))))?;
            tensors.insert(name.to_string(), tensor);
        }
        Ok(Weights { tensors, naming })
    }

    /// Reads the weights of a converted file, for timing only: a conversion is not judged by itself.
    pub(crate) fn of_converted(file: &ConvertedFile) -> Result<Self> {
        let source = file.var_builder(Dtype::F32, &Device::Cpu);
        let tensors = inventory(&file.metadata().config).into_iter().map(|spec| {
            let tensor = to_torch(&source.get(spec.shape, &spec.name)?)?;
            Ok((spec.name, tensor))
        });
        Ok(Weights { tensors: tensors.collect::<candle_core::Result<_>>()?, naming: Naming::Transformers })
    }

    /// Whether the model has no projection of the features: fairseq leaves it out where their width is the encoder's.
    pub(super) fn lacks_projection(&self) -> bool {
        self.naming == Naming::Fairseq && self.get("feature_projection.projection.weight").is_none()
    }

    /// Returns the tensor that transformers gives this name, if the checkpoint has it.
    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        match self.naming {
            Naming::Transformers => self.tensors.get(name),
            Naming::Fairseq => self.tensors.get(&fairseq_name(name, |other| self.tensors.contains_key(other))),
        }
    }
}

fn to_torch(tensor: &candle_core::Tensor) -> candle_core::Result<Tensor> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let shape: Vec<i64> = tensor.dims().iter().map(|&n| n as i64).collect();
    Ok(Tensor::from_slice(&values).reshape(shape))
}

/// Whether the metadata of a safetensors file says that a converter wrote it. Damage is left to the reader to report.
fn is_converted(file: &Path) -> bool {
    let header = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
        Ok(header)
    };
    let header = header().ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let metadata = header.as_ref().and_then(|header| header.get("__metadata__"));
    metadata.is_some_and(|metadata| {
        metadata.get("layout").is_some() || metadata.get("format").is_some_and(|format| format == "mlx")
    })
}

fn file_in(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        std::fs::metadata(path).map_err(|source| VerifyError::read(path, source))?;
        return Ok(path.to_path_buf());
    }
    FILES.iter().map(|name| path.join(name)).find(|file| file.is_file()).ok_or_else(|| VerifyError::Checkpoint {
        path: path.to_path_buf(),
        reason: format!("the folder has none of {}", FILES.join(", ")),
    })
}

/// Formats candle's error without the backtrace that it adds when `RUST_BACKTRACE` is set.
fn plain(error: candle_core::Error) -> String {
    mert_runtime::Error::from(error).to_string()
}

/// Whether a checkpoint holds a lazily negated view, which candle's pickle reader would read with the wrong sign.
fn holds_negated_view(file: &Path) -> bool {
    let pickle = || -> Option<Vec<u8>> {
        // The archive starts at byte 0: the crate's search for the start fails for some lengths of the first entry's
        // name.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut archive = ZipArchive::with_config(config, File::open(file).ok()?).ok()?;
        let name = archive.file_names().flatten().find(|name| name.ends_with("data.pkl"))?.into_owned();
        let mut pickle = Vec::new();
        archive.by_name(&name).ok()?.take(16 << 20).read_to_end(&mut pickle).ok()?;
        Some(pickle)
    };
    pickle().is_some_and(|pickle| rebuilds_negated_view(&pickle))
}

fn read_pickle(file: &Path) -> Result<HashMap<String, candle_core::Tensor>> {
    let refused = |reason: &str| VerifyError::Checkpoint { path: file.to_path_buf(), reason: reason.to_string() };
    if holds_negated_view(file) {
        return Err(refused(
            "it holds a tensor that PyTorch saved as a negated view, which would be read with the wrong sign; save it \
             again after tensor.resolve_neg()",
        ));
    }
    let mut reasons = Vec::new();
    for key in NESTED {
        let found = match PthTensors::new(file, key) {
            Ok(tensors) if tensors.tensor_infos().keys().any(|name| Naming::marks(name)) => tensors,
            Ok(_) => continue,
            Err(e) => {
                reasons.push(plain(e));
                continue;
            }
        };
        let mut tensors = HashMap::new();
        for name in found.tensor_infos().keys() {
            let failed = |e: String| VerifyError::Checkpoint {
                path: file.to_path_buf(),
                reason: format!(
                    "tensor `{name}`: {e}; save contiguous tensors with torch.save, or give a --reference .npz made \
                     with Python"
                ),
            };
            if let Some(tensor) = found.get(name).map_err(|e| failed(plain(e)))? {
                tensors.insert(name.clone(), tensor);
            }
        }
        return Ok(tensors);
    }
    reasons.dedup();
    Err(VerifyError::Checkpoint {
        path: file.to_path_buf(),
        reason: format!(
            "no encoder of a supported family could be read from it ({}). The reference reads torch zip files and \
             safetensors; save a legacy file again with torch.save, or give a --reference .npz made with Python",
            if reasons.is_empty() { "no tensor has its names".to_string() } else { reasons.join("; ") }
        ),
    })
}
