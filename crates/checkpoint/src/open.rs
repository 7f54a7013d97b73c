//! Opening of one checkpoint file, in the format that its first bytes show.

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::other_formats::{file_start, refuse_other_formats};
use crate::safetensors::SafetensorsFile;
use crate::torch::TorchFile;
use crate::{CheckpointError, Result};

/// Opens one checkpoint file. Its first bytes decide the format, not its name.
///
/// `key` chooses the dictionary in a pickle that holds several models.
///
/// # Errors
/// [`CheckpointError::NotACheckpoint`] and the errors of the format's reader.
pub(crate) fn open_file(path: &Path, key: Option<&str>) -> Result<Box<dyn Checkpoint>> {
    let start = file_start(path).map_err(|source| CheckpointError::open(path, source))?;
    if looks_like_safetensors(&start) {
        if key.is_some() {
            return Err(CheckpointError::KeyWithoutDictionaries { path: path.to_path_buf() });
        }
        return Ok(Box::new(SafetensorsFile::open(path)?));
    }
    refuse_other_formats(path, &start)?;
    Ok(Box::new(TorchFile::open(path, key)?))
}

/// Opens one file of weights to compute with them: also the output of a conversion, which is no checkpoint to convert.
///
/// # Errors
/// Those of [`open_file`].
pub(crate) fn open_weights_file(path: &Path) -> Result<Box<dyn Checkpoint>> {
    let start = file_start(path).map_err(|source| CheckpointError::open(path, source))?;
    if looks_like_safetensors(&start) {
        return Ok(Box::new(SafetensorsFile::open_converted(path)?));
    }
    open_file(path, None)
}

/// Whether a file begins as safetensors do: a little-endian u64 header length, then JSON. The first eight bytes of a
/// pickle or a zip archive would be a length of exabytes.
fn looks_like_safetensors(start: &[u8]) -> bool {
    start
        .split_first_chunk::<8>()
        .is_some_and(|(length, rest)| u64::from_le_bytes(*length) <= 100_000_000 && rest.first() == Some(&b'{'))
}
