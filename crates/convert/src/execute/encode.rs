//! The encoding of a piece of a tensor: the bytes of each tensor that is stored.

use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;

use super::Sink;
use crate::Result;
use crate::plan::Step;
use crate::transform::{
    Cast, GgmlBlocks, Quantize, QuantizedRows, Span, Transform, q4_1_blocks, q8_0_blocks, q8_0_values,
};

/// The last transforms of a chain, with the memory that they reuse.
pub(super) struct Encode<'a> {
    cast: &'a Cast,
    form: Form<'a>,
    /// The number of values in a row of the innermost axis.
    columns: usize,
    bytes: Vec<u8>,
    rounded: Vec<f32>,
    decoded: Vec<f32>,
    rows: QuantizedRows,
}

/// What follows the cast.
#[derive(Clone, Copy)]
enum Form<'a> {
    Float,
    Quantized(&'a Quantize),
    Q4_1(&'a Quantize),
    Q8_0,
}

impl<'a> Encode<'a> {
    pub(super) fn new(step: &'a Step) -> Self {
        let mut form = Form::Float;
        for transform in &step.chain {
            form = match (transform, form) {
                (Transform::Quantize(quantize), _) => Form::Quantized(quantize),
                (Transform::GgmlBlocks(GgmlBlocks::Q4_1), Form::Quantized(quantize)) => Form::Q4_1(quantize),
                (Transform::GgmlBlocks(GgmlBlocks::Q8_0), _) => Form::Q8_0,
                _ => form,
            };
        }
        let columns = step.shape.last().copied().unwrap_or(1);
        let (bytes, rounded, decoded, rows) = (Vec::new(), Vec::new(), Vec::new(), QuantizedRows::default());
        Encode { cast: step.cast(), form, columns, bytes, rounded, decoded, rows }
    }

    /// The number of values of which a piece must be a multiple.
    pub(super) fn unit(&self) -> usize {
        if matches!(self.form, Form::Float) { 1 } else { self.columns }
    }

    /// Encodes the values of the output's `span`.
    pub(super) fn apply(&mut self, span: Span<'_>, values: &[f32]) -> Result<()> {
        self.cast.apply(span, values, &mut self.bytes)?;
        match self.form {
            Form::Float => Ok(()),
            Form::Quantized(quantize) => self.quantize(quantize, span, values),
            Form::Q4_1(quantize) => {
                self.quantize(quantize, span, values)?;
                q4_1_blocks(&self.rows, quantize.quantization.group_size, &mut self.bytes);
                Ok(())
            }
            Form::Q8_0 => q8_0_blocks(span, values, &mut self.bytes),
        }
    }

    /// Quantizes the values as they are after the cast.
    fn quantize(&mut self, quantize: &Quantize, span: Span<'_>, values: &[f32]) -> Result<()> {
        let rounded = match self.cast.to {
            Dtype::F32 => values,
            Dtype::F16 => widened(&SourceDtype::F16, &self.bytes, &mut self.rounded),
            Dtype::Bf16 => widened(&SourceDtype::Bf16, &self.bytes, &mut self.rounded),
        };
        quantize.apply(span, self.columns, rounded, &mut self.rows)
    }

    /// The values that a reader gets of what was encoded last.
    pub(super) fn decoded(&mut self) -> &[f32] {
        match self.form {
            Form::Float => {}
            Form::Quantized(quantize) | Form::Q4_1(quantize) => {
                quantize.decode(&self.rows, &mut self.decoded);
                return &self.decoded;
            }
            Form::Q8_0 => {
                q8_0_values(&self.bytes, &mut self.decoded);
                return &self.decoded;
            }
        }
        let dtype = match self.cast.to {
            Dtype::F16 => SourceDtype::F16,
            Dtype::Bf16 => SourceDtype::Bf16,
            Dtype::F32 => SourceDtype::F32,
        };
        dtype.widen(&self.bytes, &mut self.decoded);
        &self.decoded
    }

    /// Passes what was encoded last to `sink`.
    pub(super) fn pass_to(&self, sink: &mut Sink<'_>) -> Result<()> {
        let Form::Quantized(quantize) = self.form else { return sink(0, &self.bytes) };
        sink(0, &self.rows.weight)?;
        sink(1, &self.rows.scales)?;
        if quantize.quantization.has_biases() {
            sink(2, &self.rows.biases)?;
        }
        Ok(())
    }
}

/// The values of 16-bit floats.
fn widened<'v>(dtype: &SourceDtype, bytes: &[u8], values: &'v mut Vec<f32>) -> &'v [f32] {
    dtype.widen(bytes, values);
    values
}
