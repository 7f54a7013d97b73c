//! A checkpoint tensor as a step's input, read in pieces.

use std::ops::Range;

use mert_arch::Dtype;
use mert_checkpoint::{Checkpoint, CheckpointError, SourceDtype, TensorBytes, TensorInfo};
use zerocopy::FromBytes;

use crate::Result;
use crate::transform::{Span, check_finite, narrow};

/// A tensor of a checkpoint that is read in pieces.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    dtype: &'a SourceDtype,
    /// The size of one element in bytes.
    size: usize,
    bytes: TensorBytes<'a>,
}

impl<'a> Input<'a> {
    pub(super) fn open(checkpoint: &'a dyn Checkpoint, name: &'a str) -> Result<Self> {
        let TensorInfo { dtype, shape } =
            checkpoint.listing().tensor(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
        let size = dtype.size().ok_or_else(|| CheckpointError::unsupported_dtype(name, dtype))?;
        let bytes = checkpoint.read(name)?;
        CheckpointError::check_length(name, shape, size, &bytes)?;
        Ok(Input { name, shape, dtype, size, bytes })
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Whether the values need more precision than f32.
    pub(super) fn is_wide(&self) -> bool {
        *self.dtype == SourceDtype::F64
    }

    /// The values of a range: borrowed from the file if it stores native f32, otherwise converted into `scratch`. f64
    /// values are converted such that a cast to `to` rounds once.
    pub(super) fn values<'s>(&'s self, range: Range<usize>, to: Dtype, scratch: &'s mut Vec<f32>) -> &'s [f32] {
        let bytes = self.bytes_of(range);
        if self.is_wide() {
            scratch.clear();
            scratch.extend(wide(bytes).map(|value| narrow(value, to)));
            return scratch;
        }
        if cfg!(target_endian = "little")
            && *self.dtype == SourceDtype::F32
            && let Ok(values) = <[f32]>::ref_from_bytes(bytes)
        {
            return values;
        }
        self.dtype.widen(bytes, scratch);
        scratch
    }

    /// All values in f32, which must be finite.
    pub(super) fn all(&self) -> Result<Vec<f32>> {
        let mut scratch = Vec::new();
        let values = self.values(0..self.len(), Dtype::F32, &mut scratch).to_vec();
        self.check_finite(&(0..self.len()), &values)?;
        Ok(values)
    }

    /// The values of a range, exact in f64.
    pub(super) fn wide_values(&self, range: Range<usize>) -> Vec<f64> {
        if self.is_wide() {
            return wide(self.bytes_of(range)).collect();
        }
        let mut scratch = Vec::new();
        self.values(range, Dtype::F32, &mut scratch).iter().map(|&value| f64::from(value)).collect()
    }

    fn bytes_of(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range.start * self.size..range.end * self.size]
    }

    /// Refuses a range with a value that is not finite.
    pub(super) fn check_finite<V: Copy + Into<f64>>(&self, range: &Range<usize>, values: &[V]) -> Result<()> {
        check_finite(Span { tensor: self.name, shape: self.shape, start: range.start }, values)
    }

    /// The original f64 of the value that became `narrowed` in a range, for an error message.
    pub(super) fn original(&self, range: Range<usize>, to: Dtype, narrowed: f64) -> Option<f64> {
        self.is_wide().then(|| wide(self.bytes_of(range)).find(|&value| f64::from(narrow(value, to)) == narrowed))?
    }
}

/// The values of little-endian f64 bytes.
fn wide(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes))
}
