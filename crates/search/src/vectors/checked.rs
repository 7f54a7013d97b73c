//! Safetensors files whose metadata has the CRC-32 of each tensor, under the tensor's name: those of derived values, which are
//! mapped and used in place.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crc32fast::Hasher;
use mert_fs::{AtomicFile, MappedFile};
use rayon::prelude::*;
use safetensors::{SafeTensors, View, serialize_to_file};

use crate::{Result, SearchError};

/// The bytes that one task reads.
const TASK: usize = 1 << 20;

/// The CRC-32 of bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let of_task = |bytes: &[u8]| {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher
    };
    let combined = |mut first: Hasher, second: Hasher| {
        first.combine(&second);
        first
    };
    bytes.par_chunks(TASK).map(of_task).reduce(Hasher::new, combined).finalize()
}

/// Writes tensors and their checksums to `path`, one tensor at a time.
///
/// # Errors
/// [`SearchError::Write`] or [`SearchError::Io`].
pub(crate) fn write_checked<V: View>(path: &Path, tensors: Vec<(String, V, u32)>) -> Result<()> {
    let output = AtomicFile::create(path, true)?;
    let checksums: HashMap<String, String> =
        tensors.iter().map(|(name, _, checksum)| (name.clone(), format!("{checksum:08x}"))).collect();
    let views = tensors.into_iter().map(|(name, view, _)| (name, view));
    let written = serialize_to_file(views, Some(checksums), output.temporary_path());
    written.map_err(|error| SearchError::io(path)(std::io::Error::other(error.to_string())))?;
    // safetensors has replaced the file by one that only its owner can read.
    let permissions = output.file().metadata().map(|file| file.permissions());
    permissions.and_then(|own| fs::set_permissions(output.temporary_path(), own)).map_err(SearchError::io(path))?;
    Ok(output.commit()?)
}

/// Whether `bytes` are those of a file that [`write_checked`] wrote, and each tensor has its checksum.
pub(crate) fn is_intact(bytes: &[u8]) -> bool {
    let Ok((_, header)) = SafeTensors::read_metadata(bytes) else { return false };
    let (Some(checksums), Ok(tensors)) = (header.metadata(), SafeTensors::deserialize(bytes)) else { return false };
    let is_stored = |(name, tensor): (&str, safetensors::tensor::TensorView<'_>)| {
        checksums.get(name).is_some_and(|stored| *stored == format!("{:08x}", checksum(tensor.data())))
    };
    tensors.iter().all(is_stored)
}

/// [`is_intact`] of the file at `path`.
pub(crate) fn is_intact_file(path: &Path) -> bool {
    MappedFile::open(path).is_ok_and(|file| is_intact(file.bytes()))
}
