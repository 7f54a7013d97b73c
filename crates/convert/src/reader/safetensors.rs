use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::{Checkpoint, Listing, SourceDtype, TensorInfo};
use crate::{ConvertError, Result};

/// A safetensors file in PyTorch's layout.
#[derive(Debug)]
pub struct SafetensorsFile {
    listing: Listing,
    /// Where each tensor's bytes lie, from the file's start.
    ranges: BTreeMap<String, (u64, usize)>,
    file: Mutex<File>,
}

impl SafetensorsFile {
    /// Reads the header and checks it against the file's length.
    ///
    /// # Errors
    /// [`ConvertError::NotACheckpoint`] for a damaged file, [`ConvertError::AlreadyConverted`] for
    /// the output of a conversion.
    pub fn open(path: &Path) -> Result<Self> {
        let unreadable = |source| ConvertError::Open { path: path.to_path_buf(), source };
        let damaged = |reason: String| ConvertError::NotACheckpoint { path: path.to_path_buf(), reason };

        let mut file = File::open(path).map_err(unreadable)?;
        let (metadata, data_start) = read_header(&mut file).map_err(damaged)?;
        if let Some(evidence) = metadata.metadata().as_ref().and_then(conversion_evidence) {
            return Err(ConvertError::AlreadyConverted { path: path.to_path_buf(), evidence });
        }

        let (mut tensors, mut ranges) = (BTreeMap::new(), BTreeMap::new());
        for (name, info) in metadata.tensors() {
            let (begin, end) = info.data_offsets;
            ranges.insert(name.clone(), (data_start + begin as u64, end - begin));
            tensors.insert(name, TensorInfo { dtype: dtype(info.dtype), shape: info.shape.clone() });
        }
        let listing = Listing { tensors, ..Listing::default() };
        Ok(SafetensorsFile { listing, ranges, file: Mutex::new(file) })
    }
}

/// Reads a safetensors header and checks it against the file's length; also returns where the data
/// starts. The error is a sentence about the file.
pub(crate) fn read_header(file: &mut File) -> Result<(Metadata, u64), String> {
    let unreadable = |e: io::Error| format!("its safetensors header cannot be read: {e}");
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(unreadable)?;
    let header_length = u64::from_le_bytes(start);
    let Some(data_start) = header_length.checked_add(8).filter(|&end| end <= length) else {
        return Err(format!(
            "its safetensors header should be {header_length} bytes long, but the file ends at {length} bytes"
        ));
    };
    let mut header = Vec::new();
    file.take(header_length).read_to_end(&mut header).map_err(unreadable)?;
    // Deserialising checks that the tensors' sizes fit their shapes and follow each other without gaps.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| format!("its safetensors header: {e}"))?;
    let expected = data_start.saturating_add(metadata.data_len() as u64);
    if expected != length {
        return Err(format!(
            "its safetensors header describes {expected} bytes, but the file has {length}; it is truncated or has \
             something appended"
        ));
    }
    Ok((metadata, data_start))
}

impl Checkpoint for SafetensorsFile {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("tensor `{name}`: {e}"));
        let &(offset, length) = self.ranges.get(name).ok_or_else(|| named(io::ErrorKind::NotFound.into()))?;
        // The position is set before each use, so a poisoned lock leaves nothing behind.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset)).map_err(named)?;
        let mut bytes = Vec::with_capacity(length);
        (&mut *file).take(length as u64).read_to_end(&mut bytes).map_err(named)?;
        if bytes.len() != length {
            return Err(named(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

/// What in a file's metadata shows that its weights no longer have PyTorch's layout.
fn conversion_evidence(metadata: &HashMap<String, String>) -> Option<String> {
    if let (Some(layout), Some(generator)) = (metadata.get("layout"), metadata.get("generator")) {
        return Some(format!("layout {layout}, written by {generator}"));
    }
    match metadata.get("format").map(String::as_str) {
        Some("mlx") => Some("its metadata says format mlx".into()),
        _ => None,
    }
}

fn dtype(dtype: Dtype) -> SourceDtype {
    match dtype {
        Dtype::F32 => SourceDtype::F32,
        Dtype::F16 => SourceDtype::F16,
        Dtype::BF16 => SourceDtype::Bf16,
        other => SourceDtype::Other(format!("{other:?}").to_lowercase()),
    }
}
