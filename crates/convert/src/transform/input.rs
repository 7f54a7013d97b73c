use std::io;
use std::ops::Range;

use zerocopy::FromBytes;

use super::{Place, check_finite};
use crate::reader::{Checkpoint, SourceDtype, TensorBytes, TensorInfo};
use crate::{ConvertError, Result};

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

    /// The values of a range: as they lie in the file, where that is how the processor has them, otherwise
    /// put into `scratch`.
    pub(super) fn values<'s>(&'s self, range: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32] {
        let bytes = &self.bytes[range.start * self.size..range.end * self.size];
        if cfg!(target_endian = "little")
            && *self.dtype == SourceDtype::F32
            && let Ok(values) = <[f32]>::ref_from_bytes(bytes)
        {
            return values;
        }
        self.dtype.widen(bytes, scratch);
        scratch
    }

    /// Refuses values of the tensor, of which `first` precede them, that are not finite.
    pub(super) fn check_finite(&self, first: usize, values: &[f32]) -> Result<()> {
        check_finite(Place { name: self.name, shape: self.shape, first }, values)
    }
}
