//! One mapped safetensors file: its header, and the errors of files that are something else.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use mert_fs::MappedFile;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::Error;

/// A mapped file with the tensors that its header lists.
pub(super) struct SafetensorsFile {
    pub(super) data: MappedFile,
    /// The entries of `__metadata__`; none in files that MLX saves without any.
    pub(super) metadata: HashMap<String, String>,
    pub(super) tensors: HashMap<String, StoredInfo>,
}

/// A tensor of a file.
#[derive(Debug, Clone)]
pub(super) struct StoredInfo {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// The bytes of the file that hold the values.
    pub(super) range: Range<usize>,
}

impl SafetensorsFile {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotSafetensors`], [`Error::TorchCheckpoint`] or [`Error::Incomplete`].
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let data = map(path)?;
        let (header_length, header) =
            SafeTensors::read_metadata(data.bytes()).map_err(|error| unreadable(path, data.bytes(), error))?;
        let start = header_length + 8;
        let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
            let (begin, end) = info.data_offsets;
            (name, StoredInfo { dtype: info.dtype, shape: info.shape.clone(), range: start + begin..start + end })
        };
        let tensors = header.tensors().into_iter().map(stored).collect();
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(SafetensorsFile { data, metadata, tensors })
    }

    pub(super) fn path(&self) -> &Path {
        self.data.path()
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
