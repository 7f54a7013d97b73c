//! The element types of tensors in checkpoints, and their exact conversion to f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

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
    /// Another type, by its name; such a tensor can be dropped but not converted.
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

    /// The size of one element in bytes; `None` for other types.
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

/// Widens 16-bit floats block by block, because the vectorised conversion takes slices.
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
