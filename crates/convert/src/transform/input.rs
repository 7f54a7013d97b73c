//! A checkpoint tensor as a step's input, read in pieces.

use std::io;
use std::ops::Range;

use mert_arch::Dtype;
use zerocopy::FromBytes;

use super::{Place, check_finite, narrow};
use crate::{ConvertError, Result};
use mert_checkpoint::{Checkpoint, SourceDtype, TensorBytes, TensorInfo};

/// A tensor of a checkpoint, taken a piece at a time.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    dtype: &'a SourceDtype,
    /// Bytes of one element.
    size: usize,
    bytes: TensorBytes<'a>,
}

impl<'a> Input<'a> {
    pub(super) fn open(checkpoint: &'a dyn Checkpoint, name: &'a str) -> Result<Self> {
        let invalid = |reason: String| {
            let reason = format!("tensor `{name}`: {reason}");
            ConvertError::ReadTensor(io::Error::new(io::ErrorKind::InvalidData, reason))
        };
        let TensorInfo { dtype, shape } =
            checkpoint.listing().tensors.get(name).ok_or_else(|| invalid("not in the checkpoint".into()))?;
        let size = dtype.size().ok_or_else(|| invalid(format!("dtype {} is not supported", dtype.name())))?;
        let bytes = checkpoint.read(name).map_err(ConvertError::ReadTensor)?;
        let expected = shape.iter().product::<usize>() * size;
        if bytes.len() != expected {
            return Err(invalid(format!("{} bytes were read, its shape has {expected}", bytes.len())));
        }
        Ok(Input { name, shape, dtype, size, bytes })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Whether the values need more precision than f32.
    pub(super) fn is_wide(&self) -> bool {
        *self.dtype == SourceDtype::F64
    }

    /// The values of a range: borrowed from the file if it stores native f32, otherwise converted into `scratch`. An
    /// f64 is converted such that a cast to `to` rounds once.
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

    /// Like [`Input::values`], but exact in f64.
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
        check_finite(Place { name: self.name, shape: self.shape, first: range.start }, values)
    }

    /// The original f64 of the value that became `narrowed` in a range, for an error message.
    pub(super) fn original(&self, range: Range<usize>, to: Dtype, narrowed: f64) -> Option<f64> {
        self.is_wide().then(|| wide(self.bytes_of(range)).find(|&value| f64::from(narrow(value, to)) == narrowed))?
    }
}

fn wide(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes))
}
