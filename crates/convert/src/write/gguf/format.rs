//! The bytes of a GGUF header, version 3 (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>): metadata and the
//! list of tensors. It knows nothing of plans.

use mert_arch::Dtype;

use crate::transform::GgmlBlocks;

/// The number of bytes to a multiple of which every tensor, and the file, is padded: the format's default.
pub(super) const ALIGNMENT: usize = 32;

/// The longest name of a tensor that ggml reads, in bytes: `GGML_MAX_NAME` is 64 with the terminating zero.
#[cfg(test)]
pub(super) const MAX_NAME: usize = 63;

/// The element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TensorType {
    Float(Dtype),
    Blocks(GgmlBlocks),
}

impl TensorType {
    /// The number in a file, after `ggml_type`.
    const fn code(self) -> u32 {
        match self {
            TensorType::Float(Dtype::F32) => 0,
            TensorType::Float(Dtype::F16) => 1,
            TensorType::Blocks(GgmlBlocks::Q4_1) => 3,
            TensorType::Blocks(GgmlBlocks::Q8_0) => 8,
            TensorType::Float(Dtype::Bf16) => 30,
        }
    }

    /// The value of `general.file_type` for a file whose matrices are of this type, after `llama_ftype`.
    pub(super) const fn file_type(self) -> u32 {
        match self {
            TensorType::Float(Dtype::F32) => 0,
            TensorType::Float(Dtype::F16) => 1,
            TensorType::Blocks(GgmlBlocks::Q4_1) => 3,
            TensorType::Blocks(GgmlBlocks::Q8_0) => 7,
            TensorType::Float(Dtype::Bf16) => 32,
        }
    }
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    U32(u32),
    F32(f32),
    Text(String),
}

/// An entry of the metadata.
pub(super) type Entry = (String, Value);

/// A tensor in the list. Its data follows that of the tensor before it, padded to [`ALIGNMENT`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorInfo<'a> {
    pub(super) name: &'a str,
    /// The shape, outermost first. The format has it innermost first.
    pub(super) shape: &'a [usize],
    pub(super) kind: TensorType,
    /// The number of bytes of the data without padding.
    pub(super) byte_len: usize,
}

/// The header without padding. The data of the first tensor begins at the next multiple of [`ALIGNMENT`].
pub(super) fn header(metadata: &[Entry], tensors: &[TensorInfo<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3u32.to_le_bytes());
    length(&mut bytes, tensors.len());
    length(&mut bytes, metadata.len());
    for (key, value) in metadata {
        text(&mut bytes, key);
        match value {
            Value::U32(value) => tagged(&mut bytes, 4, &value.to_le_bytes()),
            Value::F32(value) => tagged(&mut bytes, 6, &value.to_le_bytes()),
            Value::Text(value) => {
                tagged(&mut bytes, 8, &[]);
                text(&mut bytes, value);
            }
        }
    }
    let mut offset = 0;
    for tensor in tensors {
        text(&mut bytes, tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        for &extent in tensor.shape.iter().rev() {
            length(&mut bytes, extent);
        }
        bytes.extend(tensor.kind.code().to_le_bytes());
        length(&mut bytes, offset);
        offset += tensor.byte_len.next_multiple_of(ALIGNMENT);
    }
    bytes
}

fn length(bytes: &mut Vec<u8>, value: usize) {
    bytes.extend((value as u64).to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, value: &str) {
    length(bytes, value.len());
    bytes.extend(value.as_bytes());
}

fn tagged(bytes: &mut Vec<u8>, kind: u32, value: &[u8]) {
    bytes.extend(kind.to_le_bytes());
    bytes.extend(value);
}
