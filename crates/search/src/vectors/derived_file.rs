//! Values that are derived from rows, in a mapped file with a checksum, which is compared when the file is opened: a wrong value
//! would change a ranking and nothing else.

use std::ops::Range;
use std::path::Path;

use mert_fs::MappedFile;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::checked::{checksum, is_intact, write_checked};
use crate::{Result, SearchError};

/// The name of the tensor.
const VALUES: &str = "values";

/// Values in f32, row by row, in a mapped file.
#[derive(Debug)]
pub(crate) struct DerivedFile {
    file: MappedFile,
    values: Range<usize>,
}

impl DerivedFile {
    /// Opens a file of `rows` rows of `dim` values; `None` if it is missing, damaged or another one.
    pub(crate) fn open(path: &Path, rows: usize, dim: usize) -> Option<Self> {
        let file = MappedFile::open(path).ok()?;
        let values = {
            let tensors = SafeTensors::deserialize(file.bytes()).ok()?;
            let tensor = tensors.tensor(VALUES).ok()?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != [rows, dim] || !is_intact(file.bytes()) {
                return None;
            }
            let start = tensor.data().as_ptr().addr() - file.bytes().as_ptr().addr();
            start..start + tensor.data().len()
        };
        let is_aligned = bytemuck::try_cast_slice::<u8, f32>(&file.bytes()[values.clone()]).is_ok();
        is_aligned.then_some(DerivedFile { file, values })
    }

    /// Writes rows of `dim` values to `path`.
    ///
    /// # Errors
    /// [`SearchError::Write`] or [`SearchError::Io`].
    pub(crate) fn write(path: &Path, dim: usize, values: &[f32]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, vec![values.len() / dim.max(1), dim], bytes)
            .map_err(|error| SearchError::damaged(path, error.to_string()))?;
        write_checked(path, vec![(VALUES.to_string(), view, checksum(bytes))])
    }

    /// All values, row by row.
    pub(crate) fn values(&self) -> &[f32] {
        // `open` has checked the length and the alignment.
        bytemuck::cast_slice(&self.file.bytes()[self.values.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.safetensors");
        let values: Vec<f32> = (0..60).map(|index| index as f32 / 7.0).collect();
        DerivedFile::write(&path, 3, &values).unwrap();
        assert_eq!(DerivedFile::open(&path, 20, 3).unwrap().values(), values);
        assert!(DerivedFile::open(&path, 20, 2).is_none() && DerivedFile::open(&path, 30, 2).is_none());
        let written = std::fs::read(&path).unwrap();
        for byte in 0..written.len() {
            let mut damaged = written.clone();
            damaged[byte] ^= 1 << (byte % 8);
            std::fs::write(&path, &damaged).unwrap();
            let opened = DerivedFile::open(&path, 20, 3);
            // A bit of the header that says nothing of the values may be another.
            assert!(opened.is_none_or(|file| file.values() == values), "byte {byte}");
        }
        std::fs::write(&path, &written[..written.len() - 4]).unwrap();
        assert!(DerivedFile::open(&path, 20, 3).is_none());
    }
}
