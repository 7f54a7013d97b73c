//! Opening of one checkpoint file, by its first bytes.

use std::path::Path;

use crate::{Checkpoint, CheckpointError, Result, SafetensorsFile, TorchFile, signature};

/// Opens one checkpoint file, telling its format by its first bytes, not by its name.
///
/// `key` chooses the dictionary in a pickle that holds several models.
///
/// # Errors
/// [`CheckpointError::NotACheckpoint`] and its neighbours.
pub fn open_file(path: &Path, key: Option<&str>) -> Result<Box<dyn Checkpoint>> {
    let start =
        signature::start_of(path).map_err(|source| CheckpointError::Open { path: path.to_path_buf(), source })?;
    if looks_like_safetensors(&start) {
        if key.is_some() {
            return Err(CheckpointError::KeyWithoutDictionaries { path: path.to_path_buf() });
        }
        return Ok(Box::new(SafetensorsFile::open(path)?));
    }
    signature::refuse_other_formats(path, &start)?;
    Ok(Box::new(TorchFile::open(path, key)?))
}

/// A safetensors file is a little-endian u64 header length, then JSON. A pickle's or a zip's first
/// eight bytes would be a length of exabytes.
fn looks_like_safetensors(start: &[u8]) -> bool {
    start
        .split_first_chunk::<8>()
        .is_some_and(|(length, rest)| u64::from_le_bytes(*length) <= 100_000_000 && rest.first() == Some(&b'{'))
}
