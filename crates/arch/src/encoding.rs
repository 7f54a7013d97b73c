//! The encoding of a tensor in a file: a float type, or a quantization with the tensors that it takes.

use serde::Serialize;

use crate::{Dtype, Quantization};

/// The form in which a file stores a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// One tensor of floats.
    Float(Dtype),
    /// Packed codes, and scales and biases for groups of them.
    Quantized {
        /// The mode, bits and group size.
        #[serde(flatten)]
        quantization: Quantization,
        /// The type of the scales and biases of the mode `affine`, in which MLX also decodes.
        float: Dtype,
    },
}

/// The element type of a stored tensor, under the names of
/// [safetensors](https://github.com/huggingface/safetensors#format).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StoredDtype {
    /// binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// binary32.
    F32,
    /// Words of packed codes.
    U32,
    /// Scales of a microscaling format.
    U8,
}

impl StoredDtype {
    /// The name in the header of a safetensors file.
    pub const fn name(self) -> &'static str {
        match self {
            StoredDtype::F16 => "F16",
            StoredDtype::Bf16 => "BF16",
            StoredDtype::F32 => "F32",
            StoredDtype::U32 => "U32",
            StoredDtype::U8 => "U8",
        }
    }

    /// The number of bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            StoredDtype::F16 | StoredDtype::Bf16 => 2,
            StoredDtype::F32 | StoredDtype::U32 => 4,
            StoredDtype::U8 => 1,
        }
    }
}

impl From<Dtype> for StoredDtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => StoredDtype::F16,
            Dtype::Bf16 => StoredDtype::Bf16,
            Dtype::F32 => StoredDtype::F32,
        }
    }
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredTensor {
    /// The name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: StoredDtype,
}

impl StoredTensor {
    /// The number of bytes.
    pub fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

impl Encoding {
    /// The type of the floats: of the values, or of the scales and biases.
    pub const fn float(&self) -> Dtype {
        match *self {
            Encoding::Float(dtype) => dtype,
            Encoding::Quantized { float, .. } => float,
        }
    }

    /// The tensors that store the weight `name` of this shape: itself, or `PATH.weight`, `PATH.scales` and, in the mode
    /// `affine`, `PATH.biases`, as `mlx.nn.QuantizedLinear` names them.
    ///
    /// ```
    /// use mert_arch::{Dtype, Encoding, QuantizationMode, StoredDtype};
    ///
    /// let quantization = QuantizationMode::Affine.default_quantization();
    /// let encoding = Encoding::Quantized { quantization, float: Dtype::F16 };
    /// let stored = encoding.stored_tensors("q_proj.weight", &[768, 768]);
    /// let shapes: Vec<_> = stored.iter().map(|tensor| (tensor.name.as_str(), &tensor.shape[..])).collect();
    /// assert_eq!(shapes, [("q_proj.weight", &[768, 96][..]), ("q_proj.scales", &[768, 12]), ("q_proj.biases", &[768, 12])]);
    /// assert_eq!(stored[0].dtype, StoredDtype::U32);
    /// ```
    pub fn stored_tensors(&self, name: &str, shape: &[usize]) -> Vec<StoredTensor> {
        let tensor = |name: String, columns: Option<usize>, dtype| {
            let mut shape = shape.to_vec();
            if let (Some(last), Some(columns)) = (shape.last_mut(), columns) {
                *last = columns;
            }
            StoredTensor { name, shape, dtype }
        };
        match *self {
            Encoding::Float(dtype) => vec![tensor(name.into(), None, dtype.into())],
            Encoding::Quantized { quantization, float } => {
                let inputs = shape.last().copied().unwrap_or_default();
                let module = name.strip_suffix(".weight").unwrap_or(name);
                let scales = if quantization.has_biases() { float.into() } else { StoredDtype::U8 };
                let words = tensor(name.into(), Some(quantization.packed_columns(inputs)), StoredDtype::U32);
                let groups = |part: &str| tensor(format!("{module}.{part}"), Some(quantization.groups(inputs)), scales);
                let mut tensors = vec![words, groups("scales")];
                tensors.extend(quantization.has_biases().then(|| groups("biases")));
                tensors
            }
        }
    }

    /// The number of bytes of a weight of this shape.
    pub fn byte_len(&self, shape: &[usize]) -> usize {
        self.stored_tensors("", shape).iter().map(StoredTensor::byte_len).sum()
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Encoding::Float(dtype) => dtype.fmt(f),
            Encoding::Quantized { quantization, .. } => quantization.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QuantizationMode;

    #[test]
    fn microscaling_formats_have_scales_of_one_byte_and_no_biases() {
        let quantization = QuantizationMode::Nvfp4.default_quantization();
        let encoding = Encoding::Quantized { quantization, float: Dtype::Bf16 };
        let stored = encoding.stored_tensors("a.weight", &[3, 64]);
        let found: Vec<_> =
            stored.iter().map(|t| (t.name.as_str(), &t.shape[..], t.dtype.name(), t.byte_len())).collect();
        assert_eq!(found, [("a.weight", &[3, 8][..], "U32", 96), ("a.scales", &[3, 4], "U8", 12)]);
        assert_eq!((encoding.byte_len(&[3, 64]), encoding.to_string()), (108, "nvfp4 g16".into()));
        assert_eq!(Encoding::Float(Dtype::Bf16).byte_len(&[3, 64]), 384);
    }
}
