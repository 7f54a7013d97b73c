//! Features that another program has written as `.npy`, such as those of HuBERT's recipe: frames without a model.

use std::path::{Path, PathBuf};

use mert_fs::{MappedFile, check_npy_header};
use npyz::{DType, NpyFile, Order, TypeChar};

use super::store::{Part, Store, StoredFile};
use crate::TokensError;
use crate::kmeans::Frames;

/// Frames that are converted at a time.
const ROWS: usize = 4096;

/// A `.npy` of frames `(frames, dim)`, mapped.
#[derive(Debug)]
pub struct FeatureFile {
    path: PathBuf,
    file: MappedFile,
    /// The byte at which the values start.
    start: usize,
    frames: usize,
    dim: usize,
    width: usize,
}

impl FeatureFile {
    /// Opens the file at `path`: float32 or float16, little-endian, in C order, of two dimensions.
    ///
    /// # Errors
    /// [`TokensError::Read`], or [`TokensError::Features`] for anything else.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let file = MappedFile::open(path).map_err(|source| TokensError::Read { path: path.to_path_buf(), source })?;
        let refuse = |reason: String| TokensError::Features { path: path.to_path_buf(), reason };
        let mut bytes = file.bytes();
        let header = check_npy_header(bytes)
            .and_then(|()| NpyFile::new(&mut bytes))
            .map_err(|error| refuse(error.to_string()))?;
        let &[frames, dim] = header.shape() else {
            return Err(refuse(format!("it has {} dimensions, expected (frames, width)", header.shape().len())));
        };
        if header.order() != Order::C {
            return Err(refuse("it is in Fortran order: save np.ascontiguousarray of it".into()));
        }
        let width = match header.dtype() {
            DType::Plain(kind) if kind.type_char() == TypeChar::Float && kind.endianness().to_string() != ">" => {
                kind.size_field() as usize
            }
            other => return Err(refuse(format!("its values are {}, expected float32 or float16", other.descr()))),
        };
        if !matches!(width, 2 | 4) {
            return Err(refuse(format!("its values have {} bits, expected float32 or float16", width * 8)));
        }
        drop(header);
        let start = file.bytes().len() - bytes.len();
        let (frames, dim) = (frames as usize, dim as usize);
        let expected = frames.checked_mul(dim).and_then(|values| values.checked_mul(width));
        if dim == 0 || expected != Some(bytes.len()) {
            return Err(refuse(format!("it has {} bytes of values, and its shape is ({frames}, {dim})", bytes.len())));
        }
        Ok(FeatureFile { path: path.to_path_buf(), file, start, frames, dim, width })
    }

    /// The width of a frame.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The frames as they lie in the file, if they are float32.
    pub fn as_frames(&self) -> Option<Frames<'_>> {
        (self.width == 4).then(|| Frames::mapped(&self.file, self.start..self.file.bytes().len(), self.dim))?
    }

    /// Adds the frames to `store` as file `index` of the set `part`, after `prepare` has changed each block of them in place.
    ///
    /// # Errors
    /// [`TokensError::Features`] for a value that is not finite; those of the store.
    pub fn store(
        &self,
        store: &mut Store,
        index: usize,
        part: Part,
        prepare: &dyn Fn(&mut [f32]),
    ) -> Result<(), TokensError> {
        let mut start = self.start;
        while start < self.file.bytes().len() {
            let end = (start + ROWS * self.dim * self.width).min(self.file.bytes().len());
            let Some(bytes) = self.file.range(start..end) else { break };
            let mut values: Vec<f32> = match self.width {
                4 => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
                _ => bytes.as_chunks::<2>().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
            };
            check_finite(&self.path, &values, self.dim, (start - self.start) / self.width)?;
            prepare(&mut values);
            store.add(part, &values)?;
            start = end;
        }
        store.finish(StoredFile { index, part, frames: self.frames as u64, silent: 0 })
    }

    /// Checks that all values are finite.
    ///
    /// # Errors
    /// [`TokensError::Features`] with the first that is not.
    pub fn check_finite(&self) -> Result<(), TokensError> {
        let Some(frames) = self.as_frames() else { return Ok(()) };
        let mut first = 0;
        for block in frames.blocks(ROWS) {
            check_finite(&self.path, block.values(), self.dim, first)?;
            first += block.values().len();
        }
        Ok(())
    }
}

/// Refuses values that are not finite; the first of `values` is value `first` of the file.
fn check_finite(path: &Path, values: &[f32], dim: usize, first: usize) -> Result<(), TokensError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let index = first + at;
            let reason =
                format!("value {} of frame {} is {}, expected a finite number", index % dim, index / dim, values[at]);
            Err(TokensError::Features { path: path.to_path_buf(), reason })
        }
    }
}
