//! The encoding of a piece of a tensor: the bytes of each tensor that is stored.

use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;

use super::Sink;
use crate::Result;
use crate::plan::Step;
use crate::transform::{Cast, Quantize, QuantizedRows, Span, Transform};

/// The last transforms of a chain, with the memory that they reuse.
pub(super) struct Encode<'a> {
    cast: &'a Cast,
    quantize: Option<&'a Quantize>,
    /// The number of values in a row of the innermost axis.
    columns: usize,
    bytes: Vec<u8>,
    rounded: Vec<f32>,
    rows: QuantizedRows,
}

impl<'a> Encode<'a> {
    pub(super) fn new(step: &'a Step) -> Self {
        let quantize = step.chain.iter().find_map(|transform| match transform {
            Transform::Quantize(quantize) => Some(quantize),
            _ => None,
        });
        let columns = step.shape.last().copied().unwrap_or(1);
        let (bytes, rounded, rows) = (Vec::new(), Vec::new(), QuantizedRows::default());
        Encode { cast: step.cast(), quantize, columns, bytes, rounded, rows }
    }

    /// The number of values of which a piece must be a multiple.
    pub(super) fn unit(&self) -> usize {
        if self.quantize.is_some() { self.columns } else { 1 }
    }

    /// Encodes the values of the output's `span`.
    pub(super) fn apply(&mut self, span: Span<'_>, values: &[f32]) -> Result<()> {
        self.cast.apply(span, values, &mut self.bytes)?;
        let Some(quantize) = self.quantize else { return Ok(()) };
        let rounded = match self.cast.to {
            Dtype::F32 => values,
            Dtype::F16 => widened(&SourceDtype::F16, &self.bytes, &mut self.rounded),
            Dtype::Bf16 => widened(&SourceDtype::Bf16, &self.bytes, &mut self.rounded),
        };
        quantize.apply(span, self.columns, rounded, &mut self.rows)
    }

    /// Passes what was encoded last to `sink`.
    pub(super) fn pass_to(&self, sink: &mut Sink<'_>) -> Result<()> {
        let Some(quantize) = self.quantize else { return sink(0, &self.bytes) };
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
