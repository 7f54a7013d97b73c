//! The interface of all checkpoint readers: a listing of tensors, and the bytes of one tensor at a time.

use std::collections::BTreeMap;
use std::io;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mert_fs::MappedFile;
use serde::Serialize;

use crate::TensorBytes;

/// The element type of a tensor in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceDtype {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// bfloat16.
    Bf16,
    /// 64-bit float.
    F64,
    /// Anything else, by its name; such a tensor can be dropped but not converted.
    Other(String),
}

impl SourceDtype {
    /// The name used in plans and messages.
    pub fn name(&self) -> &str {
        match self {
            SourceDtype::F32 => "f32",
            SourceDtype::F16 => "f16",
            SourceDtype::Bf16 => "bf16",
            SourceDtype::F64 => "f64",
            SourceDtype::Other(name) => name,
        }
    }

    /// The dtype for a name returned by [`SourceDtype::name`].
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "f32" => SourceDtype::F32,
            "f16" => SourceDtype::F16,
            "bf16" => SourceDtype::Bf16,
            "f64" => SourceDtype::F64,
            other => SourceDtype::Other(other.to_string()),
        }
    }

    /// Bytes of one element. `None` for other types.
    pub fn size(&self) -> Option<usize> {
        match self {
            SourceDtype::F64 => Some(8),
            SourceDtype::F32 => Some(4),
            SourceDtype::F16 | SourceDtype::Bf16 => Some(2),
            SourceDtype::Other(_) => None,
        }
    }

    /// Replaces `values` with the decoded little-endian `bytes`, widened exactly to f32; f64 is rounded to nearest.
    /// Other dtypes yield nothing.
    pub fn widen(&self, bytes: &[u8], values: &mut Vec<f32>) {
        values.clear();
        match self {
            SourceDtype::F32 => values.extend(bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c))),
            SourceDtype::F16 => {
                widen_halves(bytes, values, f16::from_le_bytes, |halves, wide| halves.convert_to_f32_slice(wide));
            }
            SourceDtype::Bf16 => {
                widen_halves(bytes, values, bf16::from_le_bytes, |halves, wide| halves.convert_to_f32_slice(wide));
            }
            SourceDtype::F64 => values.extend(bytes.as_chunks().0.iter().map(|c| f64::from_le_bytes(*c) as f32)),
            SourceDtype::Other(_) => {}
        }
    }
}

/// Block by block, since the vectorised conversion takes slices.
fn widen_halves<T: Copy + Default>(
    bytes: &[u8],
    values: &mut Vec<f32>,
    from_le_bytes: impl Fn([u8; 2]) -> T,
    convert: impl Fn(&[T], &mut [f32]),
) {
    const BLOCK: usize = 1024;
    let mut halves = [T::default(); BLOCK];
    for chunk in bytes.as_chunks::<2>().0.chunks(BLOCK) {
        let halves = &mut halves[..chunk.len()];
        halves.iter_mut().zip(chunk).for_each(|(half, bytes)| *half = from_le_bytes(*bytes));
        let start = values.len();
        values.resize(start + chunk.len(), 0.0);
        convert(halves, &mut values[start..]);
    }
}

/// A tensor as a checkpoint lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: SourceDtype,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// What a checkpoint holds, found out without reading any weight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The model's dictionary: tensors by key.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Entries of the model's dictionary that are not tensors, with their Python types.
    pub foreign: BTreeMap<String, String>,
    /// The file's contents outside the model's dictionary, such as optimizer state.
    pub beside: Vec<Beside>,
    /// The paths of tensors outside the model's dictionary.
    pub outside: Vec<String>,
    /// The names in the file of entries from which wrapper names (`_orig_mod.`) were removed, by their names without
    /// them.
    pub wrapped: BTreeMap<String, String>,
    /// The path of the model's dictionary within the file; empty if it is the file's root.
    pub state_dict: String,
}

/// An object outside the model's dictionary, which is not converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// The path in the file, with dots between the keys.
    pub name: String,
    /// The Python type.
    pub kind: String,
    /// The number of tensors in it.
    pub tensors: usize,
}

/// A checkpoint whose tensors are read one at a time.
pub trait Checkpoint: Sync {
    /// What it holds.
    fn listing(&self) -> &Listing;

    /// The files that hold the weights, in a fixed order.
    fn files(&self) -> Vec<&MappedFile>;

    /// Whether the tensor lies in the file as [`Checkpoint::read`] gives it, so that reading it takes no
    /// memory of the process's own.
    fn is_in_place(&self, name: &str) -> bool;

    /// The little-endian, row-major, contiguous bytes of one tensor of [`Listing::tensors`]; where the
    /// container has a checksum of them, it has been checked.
    ///
    /// # Errors
    /// The file disagrees with its own index, or cannot be read; the message names the tensor.
    fn read(&self, name: &str) -> io::Result<TensorBytes<'_>>;
}

/// Reads one tensor and widens it to f32; f64 values are rounded.
///
/// # Errors
/// As [`Checkpoint::read`]; and [`io::ErrorKind::InvalidInput`] for an unlisted name or a dtype that is not a float.
pub fn read_f32(checkpoint: &dyn Checkpoint, name: &str) -> io::Result<Vec<f32>> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, format!("tensor `{name}`: {reason}"));
    let info = checkpoint.listing().tensors.get(name).ok_or_else(|| invalid("not in the checkpoint".into()))?;
    if info.dtype.size().is_none() {
        return Err(invalid(format!("dtype {} is not supported", info.dtype.name())));
    }
    let mut values = Vec::new();
    info.dtype.widen(&checkpoint.read(name)?, &mut values);
    let expected: usize = info.shape.iter().product();
    if values.len() != expected {
        return Err(invalid(format!("{} values were read, its shape has {expected}", values.len())));
    }
    Ok(values)
}
