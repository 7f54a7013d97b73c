//! An editor of converted safetensors files.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use half::{bf16, f16};
use mert_arch::{Config, Dtype, Layout, Metadata, Role};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::Tensor;

/// The contents of a converted file, which can be changed and written again.
///
/// Tensors are in PyTorch's order and in f32; writing converts them to the file's layout and dtype.
#[derive(Debug, Clone)]
pub struct ConvertedModel {
    /// The file's metadata.
    pub metadata: Metadata,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl ConvertedModel {
    /// Reads a converted file.
    ///
    /// # Errors
    /// If the file is not a converted one.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(io::Error::other)?;
        let lookup = |key: &str| header.metadata().as_ref()?.get(key).map(String::as_str);
        let metadata = Metadata::from_lookup(lookup).map_err(io::Error::other)?;
        let file = SafeTensors::deserialize(&bytes).map_err(io::Error::other)?;
        let mut tensors = BTreeMap::new();
        for spec in metadata.inventory() {
            let stored = file.tensor(&spec.name).map_err(io::Error::other)?;
            let tensor = Tensor { shape: stored.shape().to_vec(), values: widen(stored.data(), metadata.dtype) };
            tensors.insert(spec.name, swap_if_mlx(tensor, spec.role, metadata.layout));
        }
        Ok(ConvertedModel { metadata, tensors })
    }

    /// Writes the file. Tensors that the metadata does not imply are left out.
    ///
    /// # Errors
    /// If a tensor that the metadata implies is missing, or the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut stored = Vec::new();
        for spec in self.metadata.inventory() {
            let missing = || io::Error::other(format!("tensor `{}` is missing", spec.name));
            let tensor = self.tensors.get(&spec.name).ok_or_else(missing)?.clone();
            let tensor = swap_if_mlx(tensor, spec.role, self.metadata.layout);
            stored.push((spec.name, tensor.shape, narrow(&tensor.values, self.metadata.dtype)));
        }
        let dtype = match self.metadata.dtype {
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::Bf16 => safetensors::Dtype::BF16,
            Dtype::F32 => safetensors::Dtype::F32,
        };
        let views: Result<Vec<_>, _> = stored
            .iter()
            .map(|(name, shape, bytes)| Ok((name, TensorView::new(dtype, shape.clone(), bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>();
        let metadata: HashMap<String, String> = self.metadata.to_map().into_iter().collect();
        safetensors::serialize_to_file(views.map_err(io::Error::other)?, Some(metadata), path).map_err(io::Error::other)
    }

    /// The configuration.
    pub fn config(&mut self) -> &mut Config {
        &mut self.metadata.config
    }

    /// The tensor of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.get_mut(name).unwrap_or_else(|| panic!("no tensor `{name}`"))
    }

    /// Exchanges the values of two tensors.
    ///
    /// # Panics
    /// If one of them is missing.
    pub fn swap(&mut self, a: &str, b: &str) {
        let old = self.tensor(a).clone();
        let new = std::mem::replace(self.tensor(b), old);
        *self.tensor(a) = new;
    }
}

/// Swaps the last two axes if the layout does; MLX's permutation is its own inverse.
pub(crate) fn swap_if_mlx(tensor: Tensor, role: Role, layout: Layout) -> Tensor {
    if layout.permutation_from_torch(role).is_some() { tensor.swap_last_axes() } else { tensor }
}

impl Tensor {
    /// Exchanges the last two of three axes.
    pub fn swap_last_axes(&self) -> Tensor {
        let [a, b, c] = self.shape[..] else { return self.clone() };
        let values = (0..a * c * b).map(|i| {
            let (x, y, z) = (i / (c * b), i / b % c, i % b);
            self.values[(x * b + z) * c + y]
        });
        Tensor { shape: vec![a, c, b], values: values.collect() }
    }
}

pub(crate) fn widen(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|c| f16::from_le_bytes(*c).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|c| bf16::from_le_bytes(*c).to_f32()).collect(),
    }
}

pub(crate) fn narrow(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
    }
}
