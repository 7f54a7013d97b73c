//! The tensors in a folder's safetensors files, by the names of [`MusicgenNames::Mlx`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_arch::Dtype;
use mert_arch::naming::MusicgenNames;
use mert_fs::MappedFile;
use safetensors::tensor::Metadata;
use safetensors::{Dtype as Stored, SafeTensors};

use crate::{Result, VerifyError};

/// The files of a folder's weights.
pub(super) struct TensorFiles {
    files: Vec<(PathBuf, MappedFile)>,
    names: MusicgenNames,
}

/// A tensor as it is stored.
#[derive(Clone, Copy)]
pub(super) struct StoredTensor<'a> {
    pub(super) dtype: Stored,
    pub(super) bytes: &'a [u8],
}

impl TensorFiles {
    /// Maps the files of a folder, whose tensors have these names.
    ///
    /// # Errors
    /// [`VerifyError::Read`].
    pub(super) fn open(folder: &Path, names: MusicgenNames) -> Result<Self> {
        let map = |path: PathBuf| match MappedFile::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(VerifyError::read(path, source)),
        };
        let files = files_of(folder)?.into_iter().map(map).collect::<Result<_>>()?;
        Ok(TensorFiles { files, names })
    }

    /// The tensors of all files.
    ///
    /// # Errors
    /// [`VerifyError::Read`] for a damaged file.
    pub(super) fn tensors(&self) -> Result<BTreeMap<String, StoredTensor<'_>>> {
        let mut tensors = BTreeMap::new();
        for (path, file) in &self.files {
            let damaged = |error: safetensors::SafeTensorError| VerifyError::read(path, std::io::Error::other(error));
            let views = SafeTensors::deserialize(file.bytes()).map_err(damaged)?;
            tensors.extend(views.iter().map(|(name, view)| {
                (mlx_name(self.names, name), StoredTensor { dtype: view.dtype(), bytes: view.data() })
            }));
        }
        Ok(tensors)
    }
}

/// The element types of a folder's tensors, by the headers of its files.
///
/// # Errors
/// [`VerifyError::Read`].
pub(super) fn header_types(folder: &Path, names: MusicgenNames) -> Result<BTreeMap<String, Stored>> {
    let mut types = BTreeMap::new();
    for path in files_of(folder)? {
        let read = |source| VerifyError::read(&path, source);
        let mut file = File::open(&path).map_err(read)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(read)?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length)).read_to_end(&mut header).map_err(read)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| read(error.into()))?;
        types.extend(metadata.tensors().into_iter().map(|(name, info)| (mlx_name(names, &name), info.dtype)));
    }
    Ok(types)
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = |source| VerifyError::read(folder, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    Ok(files)
}

fn mlx_name(names: MusicgenNames, name: &str) -> String {
    names.to_mlx(name).unwrap_or_else(|| name.to_string())
}

/// The type of floats; `None` for another type.
pub(super) fn float(dtype: Stored) -> Option<Dtype> {
    match dtype {
        Stored::F32 => Some(Dtype::F32),
        Stored::F16 => Some(Dtype::F16),
        Stored::BF16 => Some(Dtype::Bf16),
        _ => None,
    }
}

/// The values of floats; `None` for another type.
pub(super) fn widened(tensor: StoredTensor<'_>) -> Option<Vec<f32>> {
    let bytes = tensor.bytes;
    Some(match float(tensor.dtype)? {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
    })
}
