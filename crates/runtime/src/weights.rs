use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use mert_arch::{Layout, Metadata, Role, inventory};
use safetensors::SafeTensors;

use crate::Error;
use crate::device::candle_dtype;

/// A file written by the converter, mapped into memory.
///
/// Through [`ConvertedFile::var_builder`] its tensors appear in PyTorch's order, contiguous, whatever
/// layout and dtype the file has.
pub struct ConvertedFile {
    path: PathBuf,
    metadata: Metadata,
    entries: HashMap<String, Entry>,
    data: memmap2::Mmap,
}

struct Entry {
    dtype: DType,
    /// As stored.
    shape: Vec<usize>,
    role: Role,
    range: std::ops::Range<usize>,
}

impl ConvertedFile {
    /// Opens a converted file and checks that it holds the tensors that its configuration implies, in
    /// the layout and dtype that its metadata names.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotSafetensors`], [`Error::Metadata`] or [`Error::Tensors`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Open { path: path.to_path_buf(), source };
        let damaged = |reason: String| Error::NotSafetensors { path: path.to_path_buf(), reason };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.len() == 0 {
            return Err(damaged("it is empty".into()));
        }
        // SAFETY: the map is only read. The converter replaces files by renaming, never in place; a
        // program that truncated the file while it is mapped would end this one, as with any map.
        #[allow(unsafe_code)]
        let data = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
        let (header_length, header) = SafeTensors::read_metadata(&data).map_err(|e| damaged(e.to_string()))?;
        let lookup = |key: &str| header.metadata().as_ref()?.get(key).map(String::as_str);
        let metadata =
            Metadata::from_lookup(lookup).map_err(|source| Error::Metadata { path: path.to_path_buf(), source })?;

        let wrong = |reason: String| Error::Tensors { path: path.to_path_buf(), reason };
        let mut stored = header.tensors();
        let mut entries = HashMap::new();
        for spec in inventory(&metadata.config) {
            let info = stored.remove(&spec.name).ok_or_else(|| wrong(format!("tensor `{}` is missing", spec.name)))?;
            let shape = metadata.layout.shape_from_torch(spec.role, &spec.shape);
            if info.shape != shape {
                return Err(wrong(format!("tensor `{}` has shape {:?}, expected {shape:?}", spec.name, info.shape)));
            }
            let dtype = candle_dtype(metadata.dtype);
            if info.dtype != safetensors_dtype(metadata.dtype) {
                let (name, found, expected) = (&spec.name, info.dtype, metadata.dtype);
                return Err(wrong(format!("tensor `{name}` has dtype {found:?}, expected {expected}")));
            }
            let start = header_length + 8;
            let (begin, end) = info.data_offsets;
            let entry = Entry { dtype, shape, role: spec.role, range: start + begin..start + end };
            entries.insert(spec.name, entry);
        }
        if let Some(name) = stored.keys().min() {
            return Err(wrong(format!("tensor `{}` is not part of it", name.escape_debug())));
        }
        Ok(ConvertedFile { path: path.to_path_buf(), metadata, entries, data })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors, converted to `dtype` on `device`, under the checkpoint's own paths.
    pub fn var_builder(&self, dtype: crate::Dtype, device: &Device) -> VarBuilder<'_> {
        VarBuilder::from_backend(Box::new(Backend(self)), candle_dtype(dtype), device.clone())
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let entry = self.entries.get(name).ok_or_else(|| missing(name))?;
        let bytes = &self.data[entry.range.clone()];
        let stored = Tensor::from_raw_buffer(bytes, entry.dtype, &entry.shape, &Device::Cpu)?;
        let torch_order = match (self.metadata.layout, entry.role.is_conv1d()) {
            // candle multiplies a non-contiguous kernel wrongly, so the copy is not optional.
            (Layout::Mlx, true) => stored.permute((0, 2, 1))?.contiguous()?,
            _ => stored,
        };
        torch_order.to_device(device)?.to_dtype(dtype)
    }
}

fn safetensors_dtype(dtype: mert_arch::Dtype) -> safetensors::Dtype {
    match dtype {
        mert_arch::Dtype::F16 => safetensors::Dtype::F16,
        mert_arch::Dtype::Bf16 => safetensors::Dtype::BF16,
        mert_arch::Dtype::F32 => safetensors::Dtype::F32,
    }
}

fn missing(name: &str) -> candle_core::Error {
    candle_core::Error::CannotFindTensor { path: name.to_string() }.bt()
}

struct Backend<'a>(&'a ConvertedFile);

impl SimpleBackend for Backend<'_> {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let tensor = self.0.load(name, dtype, device)?;
        if tensor.shape() != &shape {
            let msg = format!("tensor `{name}`");
            return Err(candle_core::Error::UnexpectedShape { msg, expected: shape, got: tensor.shape().clone() }.bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.0.load(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.entries.contains_key(name)
    }
}
