//! Files of derived values with checksums: safetensors files whose metadata has the CRC-32 of each tensor under the tensor's name,
//! which are mapped and used in place, and JSON below a line with its CRC-32.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use crc32fast::Hasher;
use mert_fs::{AtomicFile, MappedFile, replace_file};
use rayon::prelude::*;
use safetensors::{SafeTensors, View, serialize_to_file};
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Whether the file at `path` is a safetensors file or JSON that was written here, and has its checksums.
pub(crate) fn is_intact_file(path: &Path) -> bool {
    MappedFile::open(path).is_ok_and(|file| is_intact(file.bytes()) || checked_json(file.bytes()).is_some())
}

/// Writes `value` as JSON to `path`, below a line with its checksum.
///
/// # Errors
/// [`SearchError::Write`] or [`SearchError::Io`].
pub(crate) fn write_checked_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec(value).map_err(|error| SearchError::io(path)(error.into()))?;
    Ok(replace_file(path, |file| {
        writeln!(file, "{{\"crc32\":\"{:08x}\"}}", checksum(&json))?;
        file.write_all(&json)
    })?)
}

/// The value at `path`; `None` if it is missing, damaged or another one.
pub(crate) fn read_checked_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(checked_json(&fs::read(path).ok()?)?).ok()
}

/// The JSON below its checksum.
fn checked_json(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (head, json) = (&bytes[..end], &bytes[end + 1..]);
    (head == format!("{{\"crc32\":\"{:08x}\"}}", checksum(json)).as_bytes()).then_some(json)
}
