//! The tiny model of `fixtures/mert-tiny`, the adapters of `fixtures/adapters`, and converted files of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_checkpoint::{Source, read_f32};
use mert_testkit::{Tensor, fixture, write_torch_zip};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::scratch::Scratch;

/// The adapters of PEFT.
pub(super) const PEFT: [&str; 3] = ["lora", "rslora", "dora"];

/// The bytes of a file's tensors by name.
pub(super) type Bytes = BTreeMap<String, Vec<u8>>;

pub(super) fn adapter(name: &str) -> PathBuf {
    fixture("adapters").join(name)
}

/// The tiny model in f32.
pub(super) fn base() -> PathBuf {
    fixture("mert-tiny/pytorch_model.bin")
}

/// The tiny model in f16, in a folder of its own.
pub(super) fn f16_base(scratch: &Scratch) -> PathBuf {
    let folder = scratch.path("f16");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(fixture("mert-tiny/config.json"), folder.join("config.json")).unwrap();
    let tensors = all_tensors(&Source::open(&base()).unwrap());
    let halves = |tensor: &Tensor| tensor.values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| halves(tensor)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        (name, TensorView::new(safetensors::Dtype::F16, tensor.shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    folder
}

/// What `make_adapters.py` recorded.
pub(super) fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(adapter("expected.json")).unwrap()).unwrap()
}

/// Reads the tensors of a safetensors file.
pub(super) fn read(path: &Path) -> Bytes {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec())).collect()
}

/// Converts and returns the output's tensors.
#[track_caller]
pub(super) fn tensors(scratch: &Scratch, input: &Path, options: &[&str]) -> Bytes {
    scratch.convert(input, &[options, &["--force"]].concat());
    read(&scratch.path("out.safetensors"))
}

/// The metadata of a safetensors file.
pub(super) fn metadata(path: &Path) -> BTreeMap<String, String> {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().clone().unwrap().into_iter().collect()
}

/// A float type of outputs.
pub(super) struct Floats(fn(&[u8]) -> Vec<f64>);

impl Floats {
    pub(super) fn values(&self, bytes: &[u8]) -> Vec<f64> {
        (self.0)(bytes)
    }
}

pub(super) fn dtype_of(name: &str) -> Floats {
    Floats(match name {
        "f16" => |bytes| bytes.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f64()).collect(),
        "bf16" => |bytes| bytes.as_chunks().0.iter().map(|&half| bf16::from_le_bytes(half).to_f64()).collect(),
        _ => |bytes| bytes.as_chunks().0.iter().map(|&word| f64::from(f32::from_le_bytes(word))).collect(),
    })
}

/// Writes a safetensors file in f32.
pub(super) fn write_safetensors(path: &Path, tensors: &[(String, Tensor)]) {
    let words = |tensor: &Tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| words(tensor)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, tensor.shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// The tiny model in a folder of its own, where a test may change it.
pub(super) struct TinyModel {
    pub(super) path: PathBuf,
    /// The model's tensors.
    pub(super) tensors: Vec<(String, Tensor)>,
}

impl TinyModel {
    pub(super) fn new(scratch: &Scratch) -> Self {
        let tensors = all_tensors(&Source::open(&base()).unwrap());
        let path = scratch.path("model.bin");
        let model = TinyModel { path, tensors };
        model.write(|_| {});
        std::fs::copy(fixture("mert-tiny/config.json"), scratch.path("config.json")).unwrap();
        model
    }

    /// Writes the model after a change of its tensors.
    pub(super) fn write(&self, change: impl FnOnce(&mut Vec<(String, Tensor)>)) {
        let mut tensors = self.tensors.clone();
        change(&mut tensors);
        write_torch_zip(&self.path, &tensors).unwrap();
    }

    /// A copy of an adapter's folder with another configuration.
    pub(super) fn adapter(&self, scratch: &Scratch, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let folder = self.adapter_without_config(scratch, name);
        let text = std::fs::read(adapter(name).join("adapter_config.json")).unwrap();
        let mut config = serde_json::from_slice(&text).unwrap();
        change(&mut config);
        std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
        folder
    }

    /// A copy of an adapter's folder without its configuration.
    pub(super) fn adapter_without_config(&self, scratch: &Scratch, name: &str) -> PathBuf {
        let folder = scratch.path("adapter");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        for file in std::fs::read_dir(adapter(name)).unwrap().map(|file| file.unwrap().path()) {
            if !file.ends_with("adapter_config.json") {
                std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
            }
        }
        folder
    }
}

/// All tensors of a checkpoint in f32, and with their keys those of its adapter.
pub(super) fn all_tensors(source: &Source) -> Vec<(String, Tensor)> {
    let listing = source.listing();
    let tensor = |name: &String| {
        let values = read_f32(source.checkpoint(), name).unwrap();
        (name.clone(), Tensor { shape: listing.tensor(name).unwrap().shape.clone(), values })
    };
    listing.tensors.keys().chain(listing.adapter_tensors.keys()).map(tensor).collect()
}
