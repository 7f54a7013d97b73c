//! An editor of safetensors files as they are stored: bytes by name, of any type.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// The element type.
    pub dtype: Dtype,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

/// The contents of a safetensors file, which can be changed and written again.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFile {
    /// The entries of `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, RawTensor>,
}

impl RawFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is not a safetensors file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(io::Error::other)?;
        let file = SafeTensors::deserialize(&bytes).map_err(io::Error::other)?;
        let raw = |(name, view): (String, TensorView<'_>)| {
            let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, RawTensor { dtype, shape, bytes })
        };
        Ok(RawFile {
            metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
            tensors: file.tensors().into_iter().map(raw).collect(),
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If a tensor's bytes do not fit its shape, or the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let views: Vec<(String, TensorView<'_>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
                Ok((name.clone(), view.map_err(io::Error::other)?))
            })
            .collect::<io::Result<_>>()?;
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        safetensors::serialize_to_file(views, Some(metadata), path).map_err(io::Error::other)
    }

    /// The tensor of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn tensor(&mut self, name: &str) -> &mut RawTensor {
        self.tensors.get_mut(name).unwrap_or_else(|| panic!("no tensor `{name}`"))
    }
}
