//! The reader of safetensors files (<https://github.com/huggingface/safetensors#format>). The header is checked against
//! the file's length, and converted files are refused.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use mert_fs::MappedFile;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::checkpoint::{Checkpoint, Listing, TensorInfo};
use crate::dtype::SourceDtype;
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// A safetensors file in PyTorch's layout.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    listing: Listing,
    /// The position of each tensor's bytes, from the file's start.
    ranges: BTreeMap<String, Range<usize>>,
    file: MappedFile,
}

impl SafetensorsFile {
    /// Reads the header and checks it against the file's length.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] for a damaged file, [`CheckpointError::AlreadyConverted`] for
    /// the output of a conversion.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        SafetensorsFile::open_unless(path, conversion_evidence)
    }

    /// Opens as [`SafetensorsFile::open`] does, also the output of a conversion.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] for a damaged file.
    pub(crate) fn open_converted(path: &Path) -> Result<Self> {
        SafetensorsFile::open_unless(path, |_| None)
    }

    fn open_unless(path: &Path, refuse: impl Fn(&HashMap<String, String>) -> Option<String>) -> Result<Self> {
        let file = MappedFile::open(path).map_err(|source| CheckpointError::open(path, source))?;
        let (metadata, data_start) =
            read_header(file.bytes()).map_err(|reason| CheckpointError::not_a_checkpoint(path, reason))?;
        if let Some(evidence) = metadata.metadata().as_ref().and_then(refuse) {
            return Err(CheckpointError::AlreadyConverted { path: path.to_path_buf(), evidence });
        }

        let (mut tensors, mut ranges) = (BTreeMap::new(), BTreeMap::new());
        for (name, info) in metadata.tensors() {
            let (begin, end) = info.data_offsets;
            ranges.insert(name.clone(), data_start + begin..data_start + end);
            tensors.insert(name, TensorInfo { dtype: dtype(info.dtype), shape: info.shape.clone() });
        }
        let listing = Listing { tensors, ..Listing::default() };
        Ok(SafetensorsFile { listing, ranges, file })
    }
}

/// Reads a safetensors header and checks it against the file's length. Also returns the position at which the data
/// starts.
///
/// # Errors
/// A sentence about the file.
pub fn read_header(file: &[u8]) -> Result<(Metadata, usize), String> {
    let length = file.len();
    let Some((start, rest)) = file.split_first_chunk() else {
        return Err(format!("its safetensors header is cut off at {length} bytes"));
    };
    let header_length = u64::from_le_bytes(*start);
    let Some(header) = usize::try_from(header_length).ok().and_then(|length| rest.get(..length)) else {
        return Err(format!(
            "its safetensors header should be {header_length} bytes long, but the file ends at {length} bytes"
        ));
    };
    // Deserialising checks that the tensors' sizes fit their shapes and follow each other without gaps.
    let metadata: Metadata = serde_json::from_slice(header).map_err(|e| format!("its safetensors header: {e}"))?;
    let data_start = start.len() + header.len();
    let expected = data_start.saturating_add(metadata.data_len());
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

    fn files(&self) -> Vec<&MappedFile> {
        vec![&self.file]
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.ranges.contains_key(name)
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        let range = self.ranges.get(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
        let bytes = self.file.range(range.clone());
        let bytes =
            bytes.ok_or_else(|| CheckpointError::damaged_tensor(name, "it reaches beyond the end of the file"))?;
        Ok(TensorBytes::InPlace(bytes))
    }
}

/// The part of a file's metadata that shows that its weights no longer have PyTorch's layout.
fn conversion_evidence(metadata: &HashMap<String, String>) -> Option<String> {
    if let (Some(layout), Some(generator)) = (metadata.get("layout"), metadata.get("generator")) {
        return Some(format!("layout {layout}, written by {generator}"));
    }
    match metadata.get("format").map(String::as_str) {
        Some("mlx") => Some("its metadata has format mlx".into()),
        _ => None,
    }
}

fn dtype(dtype: Dtype) -> SourceDtype {
    match dtype {
        Dtype::F64 => SourceDtype::F64,
        Dtype::F32 => SourceDtype::F32,
        Dtype::F16 => SourceDtype::F16,
        Dtype::BF16 => SourceDtype::Bf16,
        other => SourceDtype::Other(format!("{other:?}").to_lowercase()),
    }
}
