//! A weight as it is stored, and its products with activations.

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};
use mert_simd::Isa;

use crate::{Bytes, LinearError, decode, gemm, matvec};

/// The number of rows of activations up to which a product is a pass over the weight for each pair of rows, and not one of
/// tiles.
pub(crate) const FEW_ROWS: usize = 4;

/// A weight `(outputs, inputs)` with an optional bias, in the bytes in which a file stores it: row-major floats, or MLX's
/// affine codes with their scales and biases.
#[derive(Debug, Clone)]
pub struct Linear {
    outputs: usize,
    inputs: usize,
    encoding: Encoding,
    isa: Isa,
    weight: Bytes,
    /// Empty for floats.
    scales: Bytes,
    biases: Bytes,
    /// Empty, or a value for each output.
    bias: Vec<f32>,
    /// Bytes of a row of the weight.
    row_bytes: usize,
    /// Bytes of a row of scales.
    group_bytes: usize,
}

/// The scales and biases of some rows as they are stored.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Groups<'a, const R: usize> {
    pub(crate) dtype: Dtype,
    /// Values of a group.
    pub(crate) size: usize,
    /// Groups of a row.
    pub(crate) count: usize,
    pub(crate) scales: [&'a [u8]; R],
    pub(crate) biases: [&'a [u8]; R],
}

impl Linear {
    /// A weight of floats: `weight` `(outputs, inputs)`.
    ///
    /// # Errors
    /// A shape without values, and bytes that are more or fewer than the shape takes.
    pub fn float(outputs: usize, inputs: usize, dtype: Dtype, weight: Bytes) -> Result<Self, LinearError> {
        check_shape(outputs, inputs)?;
        let shape = format!("({outputs}, {inputs}) in {dtype}");
        check_length("weight", shape, outputs * inputs * dtype.size(), &weight)?;
        let none = || Bytes::from(Vec::new());
        Ok(Linear {
            outputs,
            inputs,
            encoding: Encoding::Float(dtype),
            isa: crate::isa(),
            weight,
            scales: none(),
            biases: none(),
            bias: Vec::new(),
            row_bytes: inputs * dtype.size(),
            group_bytes: 0,
        })
    }

    /// A weight of MLX's mode `affine`, value = scale·code + bias: `weight` `(outputs, inputs·bits/32)` in u32, each row a
    /// bit stream from the lowest bit on; `scales` and `biases` `(outputs, inputs/group_size)` in `float`
    /// ([`mx.quantize`](https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html)).
    ///
    /// # Errors
    /// A shape without values or with rows that are not whole groups, another mode, and bytes that are more or fewer than
    /// the shape takes.
    pub fn quantized(
        outputs: usize,
        inputs: usize,
        quantization: Quantization,
        float: Dtype,
        weight: Bytes,
        scales: Bytes,
        biases: Bytes,
    ) -> Result<Self, LinearError> {
        check_shape(outputs, inputs)?;
        let Quantization { group_size, bits, mode } = quantization;
        if mode != QuantizationMode::Affine || Quantization::new(mode, bits, group_size).is_err() {
            return Err(LinearError::Unsupported { quantization: quantization.to_string() });
        }
        quantization
            .check_inputs(inputs)
            .map_err(|reason| LinearError::Groups { quantization: quantization.to_string(), reason })?;
        let (words, groups) = (quantization.packed_columns(inputs), quantization.groups(inputs));
        let shape = format!("({outputs}, {words}) in u32, {quantization} codes of ({outputs}, {inputs})");
        check_length("weight", shape, outputs * words * 4, &weight)?;
        for (tensor, bytes) in [("scales", &scales), ("biases", &biases)] {
            let shape = format!("({outputs}, {groups}) in {float}");
            check_length(tensor, shape, outputs * groups * float.size(), bytes)?;
        }
        let encoding = Encoding::Quantized { quantization, float };
        let (row_bytes, group_bytes) = (words * 4, groups * float.size());
        let (isa, bias) = (crate::isa(), Vec::new());
        Ok(Linear { outputs, inputs, encoding, isa, weight, scales, biases, bias, row_bytes, group_bytes })
    }

    /// The weight with a bias `(outputs,)`.
    ///
    /// # Errors
    /// Another number of values.
    pub fn with_bias(self, bias: Vec<f32>) -> Result<Self, LinearError> {
        match bias.len() == self.outputs {
            true => Ok(Linear { bias, ..self }),
            false => Err(LinearError::Bias { expected: self.outputs, found: bias.len() }),
        }
    }

    /// The weight with its products computed by these instructions instead of the widest ones.
    pub fn with_isa(self, isa: Isa) -> Self {
        Linear { isa, ..self }
    }

    /// Rows of the weight.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the weight.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The form in which the weight is stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Bytes that a pass over the weight reads, scales and biases of groups included.
    pub fn byte_len(&self) -> usize {
        self.weight.len() + self.scales.len() + self.biases.len()
    }

    /// y `(rows, outputs)` = x `(rows, inputs)` · weightᵀ + bias, with f32 activations and f32 sums. The result does not
    /// depend on the number of threads.
    ///
    /// # Panics
    /// If `x` is not whole rows, or `y` has another number of values.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        run(&[self], x, &mut [y], false);
    }

    /// y `(rows, outputs)` += x `(rows, inputs)` · weightᵀ + bias.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_add(&self, x: &[f32], y: &mut [f32]) {
        run(&[self], x, &mut [y], true);
    }

    /// [`forward`](Self::forward) of several weights with the same inputs and activations, in one parallel pass where the
    /// rows are few.
    ///
    /// # Panics
    /// As [`forward`](Self::forward); also if the weights differ in their inputs, or are not as many as the outputs.
    pub fn forward_all(parts: &[&Linear], x: &[f32], outs: &mut [&mut [f32]]) {
        run(parts, x, outs, false);
    }

    /// Row `row` of the weight in f32, as embeddings are looked up. `out` is `(inputs,)`.
    ///
    /// # Panics
    /// If there is no such row, or `out` has another number of values.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.outputs, "row {row} of a weight with {} rows", self.outputs);
        assert_eq!(out.len(), self.inputs, "values of a row");
        decode::row(self, row, out);
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Values that share a scale: a row of a weight of floats.
    pub(crate) fn group_size(&self) -> usize {
        match self.encoding {
            Encoding::Float(_) => self.inputs,
            Encoding::Quantized { quantization, .. } => quantization.group_size,
        }
    }

    /// Empty, or a value for each output.
    pub(crate) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Bytes of a row of the weight.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// `R` rows from row `first` on, as they are stored.
    #[inline(always)]
    pub(crate) fn rows<const R: usize>(&self, first: usize) -> [&[u8]; R] {
        parts_of(&self.weight, self.row_bytes, first)
    }

    /// All that is stored from row `first` on.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn stored_from(&self, first: usize) -> &[u8] {
        self.weight.get(first * self.row_bytes..).unwrap_or_default()
    }

    /// The groups of `R` rows from row `first` on.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn groups<const R: usize>(&self, first: usize) -> Groups<'_, R> {
        let (Encoding::Float(dtype) | Encoding::Quantized { float: dtype, .. }) = self.encoding;
        let size = self.group_size();
        let bytes = self.group_bytes;
        let (scales, biases) = (parts_of(&self.scales, bytes, first), parts_of(&self.biases, bytes, first));
        Groups { dtype, size, count: bytes / dtype.size(), scales, biases }
    }

    /// The float type, scales and biases of the groups of `rows` rows from row `first` on; nothing for a weight of floats.
    pub(crate) fn group_floats(&self, first: usize, rows: usize) -> (Dtype, &[u8], &[u8]) {
        let Encoding::Quantized { float, .. } = self.encoding else { return (Dtype::F32, &[], &[]) };
        let range = first * self.group_bytes..(first + rows) * self.group_bytes;
        let part = |bytes| <[u8]>::get(bytes, range.clone()).unwrap_or_default();
        (float, part(&self.scales), part(&self.biases))
    }
}

/// `R` parts of some bytes from part `first` on, empty where there are none. A loop: closures are not compiled for the
/// instruction set of the kernel.
#[inline(always)]
fn parts_of<const R: usize>(all: &[u8], bytes: usize, first: usize) -> [&[u8]; R] {
    let mut parts: [&[u8]; R] = [&[]; R];
    for (i, part) in parts.iter_mut().enumerate() {
        *part = all.get((first + i) * bytes..(first + i + 1) * bytes).unwrap_or_default();
    }
    parts
}

fn run(parts: &[&Linear], x: &[f32], outs: &mut [&mut [f32]], add: bool) {
    assert_eq!(parts.len(), outs.len(), "one output for each weight");
    let Some(inputs) = parts.first().map(|part| part.inputs) else { return };
    let rows = x.len() / inputs;
    assert_eq!(rows * inputs, x.len(), "activations are rows of {inputs} values");
    for (part, out) in parts.iter().zip(&*outs) {
        assert_eq!(part.inputs, inputs, "inputs of all weights");
        assert_eq!(out.len(), rows * part.outputs, "values of the result");
    }
    if rows <= FEW_ROWS {
        return matvec::forward_all(parts, x, outs, add);
    }
    for (part, out) in parts.iter().zip(outs) {
        gemm::forward(part, x, out, add);
    }
}

fn check_shape(outputs: usize, inputs: usize) -> Result<(), LinearError> {
    // Four bytes a value is the most that any encoding takes; scales and biases of groups of 32 are fewer.
    let bytes = outputs.checked_mul(inputs).and_then(|values| values.checked_mul(4));
    match bytes {
        Some(1..) => Ok(()),
        _ => Err(LinearError::Shape { outputs, inputs }),
    }
}

fn check_length(tensor: &'static str, shape: String, expected: usize, bytes: &Bytes) -> Result<(), LinearError> {
    match bytes.len() == expected {
        true => Ok(()),
        false => Err(LinearError::Length { tensor, shape, expected, found: bytes.len() }),
    }
}
