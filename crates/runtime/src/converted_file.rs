//! Converted files: safetensors in either layout and any dtype, read as tensors in PyTorch's order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use mert_arch::{Dtype, Layout, Metadata, Role, printable_line};
use mert_fs::MappedFile;
use safetensors::{SafeTensorError, SafeTensors};

use crate::Error;
use crate::device::candle_dtype;

/// A file that mert-convert wrote, mapped into memory.
///
/// [`ConvertedFile::var_builder`] returns its tensors contiguous and in PyTorch's order, in any layout and dtype of the
/// file.
///
/// ```
/// use mert_runtime::ConvertedFile;
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/model.safetensors");
/// # // let path = "model.safetensors";
/// let file = ConvertedFile::open(path.as_ref())?;
/// let metadata = file.metadata();
/// assert_eq!((metadata.config.num_hidden_layers, metadata.preprocessor.sampling_rate), (12, 24_000));
/// # Ok::<(), mert_runtime::Error>(())
/// ```
pub struct ConvertedFile {
    path: PathBuf,
    metadata: Metadata,
    entries: HashMap<String, Entry>,
    data: MappedFile,
}

struct Entry {
    dtype: DType,
    /// The shape as stored.
    shape: Vec<usize>,
    role: Role,
    range: std::ops::Range<usize>,
}

impl ConvertedFile {
    /// Opens a converted file and checks that it holds the tensors that its configuration implies, in
    /// the layout and dtype that its metadata names.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotSafetensors`], [`Error::TorchCheckpoint`], [`Error::Incomplete`],
    /// [`Error::Metadata`] or [`Error::Tensors`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let data = map(path)?;
        let (header_length, header) =
            SafeTensors::read_metadata(data.bytes()).map_err(|error| unreadable(path, data.bytes(), error))?;
        let lookup = |key: &str| header.metadata().as_ref()?.get(key).map(String::as_str);
        let metadata = Metadata::from_lookup(lookup).map_err(|source| Error::metadata(path, source))?;

        let mut stored = header.tensors();
        let mut entries = HashMap::new();
        for spec in metadata.inventory() {
            let info = stored
                .remove(&spec.name)
                .ok_or_else(|| Error::tensors(path, format!("tensor `{}` is missing", spec.name)))?;
            let shape = metadata.layout.shape_from_torch(spec.role, &spec.shape);
            if info.shape != shape {
                return Err(Error::tensors(
                    path,
                    format!("tensor `{}` has shape {:?}, expected {shape:?}", spec.name, info.shape),
                ));
            }
            let dtype = candle_dtype(metadata.dtype);
            if info.dtype != safetensors_dtype(metadata.dtype) {
                let (name, found, expected) = (&spec.name, info.dtype, metadata.dtype);
                return Err(Error::tensors(path, format!("tensor `{name}` has dtype {found:?}, expected {expected}")));
            }
            let start = header_length + 8;
            let (begin, end) = info.data_offsets;
            let entry = Entry { dtype, shape, role: spec.role, range: start + begin..start + end };
            entries.insert(spec.name, entry);
        }
        if let Some(name) = stored.keys().min() {
            return Err(Error::tensors(path, format!("tensor `{}` is not part of the model", printable_line(name))));
        }
        Ok(ConvertedFile { path: path.to_path_buf(), metadata, entries, data })
    }

    /// The path that the file was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata of the file: its layout, dtype, configuration and preprocessor.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors under the checkpoint's own paths, converted to `dtype` and moved to `device` as they are loaded.
    pub fn var_builder(&self, dtype: Dtype, device: &Device) -> VarBuilder<'_> {
        VarBuilder::from_backend(Box::new(Backend(self)), candle_dtype(dtype), device.clone())
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let entry = self.entries.get(name).ok_or_else(|| missing(name))?;
        let bytes = &self.data.bytes()[entry.range.clone()];
        let stored = Tensor::from_raw_buffer(bytes, entry.dtype, &entry.shape, &Device::Cpu)?;
        let torch_order = match (self.metadata.layout, entry.role.is_conv1d()) {
            // candle multiplies a non-contiguous kernel wrongly, so the copy is required.
            (Layout::Mlx, true) => stored.permute((0, 2, 1))?.contiguous()?,
            _ => stored,
        };
        torch_order.to_device(device)?.to_dtype(dtype)
    }
}

/// Maps a file into memory. An empty file, which not every system can map, is an error.
fn map(path: &Path) -> Result<MappedFile, Error> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::open(path, source))?;
    if metadata.len() == 0 {
        return Err(Error::not_safetensors(path, "it is empty"));
    }
    MappedFile::open(path).map_err(|source| Error::open(path, source))
}

/// The error for a file whose header `error` refuses.
fn unreadable(path: &Path, bytes: &[u8], error: SafeTensorError) -> Error {
    // Only the first character of the JSON header tells a header that is cut short from other binary data.
    let has_header = bytes.get(8).is_none_or(|&byte| byte == b'{');
    match error {
        _ if is_torch_checkpoint(bytes) => Error::TorchCheckpoint { path: path.to_path_buf() },
        SafeTensorError::InvalidHeaderLength if has_header => Error::incomplete(path, "its header is cut short"),
        SafeTensorError::MetadataIncompleteBuffer => {
            Error::incomplete(path, "it does not end where its last tensor ends")
        }
        other => Error::not_safetensors(path, other),
    }
}

/// Whether a file begins as `torch.save` begins it: with a zip entry `…/data.pkl`, as
/// [`inline_container.cc`](https://github.com/pytorch/pytorch/blob/main/caffe2/serialize/inline_container.cc) writes it
/// first, or in the older format with the pickled magic number of
/// [`serialization.py`](https://github.com/pytorch/pytorch/blob/main/torch/serialization.py).
fn is_torch_checkpoint(bytes: &[u8]) -> bool {
    const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    // A zip file's local header: the signature, the length of the name at 26, the name at 30.
    let name = || {
        let length = u16::from_le_bytes(bytes.get(26..28)?.try_into().ok()?);
        bytes.get(30..30 + usize::from(length))
    };
    bytes.starts_with(LEGACY)
        || bytes.starts_with(b"PK\x03\x04") && name().is_some_and(|name| name.ends_with(b"/data.pkl"))
}

/// The safetensors name of a dtype.
fn safetensors_dtype(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F16 => safetensors::Dtype::F16,
        Dtype::Bf16 => safetensors::Dtype::BF16,
        Dtype::F32 => safetensors::Dtype::F32,
    }
}

/// candle's error for a tensor that the file lacks.
fn missing(name: &str) -> candle_core::Error {
    candle_core::Error::CannotFindTensor { path: name.to_string() }.bt()
}

/// The file as the source of a candle `VarBuilder`.
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
