//! The encoding of a piece of a tensor: the bytes of each tensor that is stored.

use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;

use super::{Sink, row_len};
use crate::Result;
use crate::plan::Step;
use crate::transform::{
    Cast, Histogram, LinearCodes, LinearQuantize, Palette, Palettize, Quantize, QuantizedRows, Span, Transform,
};

/// The last transforms of a chain, with the memory that they reuse.
pub(super) struct Encode<'a> {
    cast: &'a Cast,
    codec: Codec<'a>,
    /// The step's output shape.
    shape: &'a [usize],
    bytes: Vec<u8>,
    rounded: Vec<f32>,
}

/// What follows the cast.
enum Codec<'a> {
    /// Nothing.
    Float,
    /// Codes as MLX computes them.
    Quantize(&'a Quantize, QuantizedRows),
    /// Codes as coremltools computes them.
    Linear(&'a LinearQuantize, LinearCodes),
    /// Indices, for which the values are counted first.
    Palettize { palettize: &'a Palettize, counted: Counted, indices: Vec<u8> },
}

/// The state of a palette.
enum Counted {
    Counts(Histogram),
    Palette(Palette),
}

impl<'a> Encode<'a> {
    pub(super) fn new(step: &'a Step) -> Self {
        let codec = step.chain.iter().find_map(|transform| match transform {
            Transform::Quantize(quantize) => Some(Codec::Quantize(quantize, QuantizedRows::default())),
            Transform::LinearQuantize(quantize) => Some(Codec::Linear(quantize, LinearCodes::default())),
            Transform::Palettize(palettize) => {
                let counted = Counted::Counts(Histogram::default());
                Some(Codec::Palettize { palettize, counted, indices: Vec::new() })
            }
            _ => None,
        });
        let codec = codec.unwrap_or(Codec::Float);
        Encode { cast: step.cast(), codec, shape: &step.shape, bytes: Vec::new(), rounded: Vec::new() }
    }

    /// The number of values of which a piece must be a multiple.
    pub(super) fn unit(&self) -> usize {
        match self.codec {
            Codec::Float => 1,
            Codec::Quantize(..) => self.shape.last().copied().unwrap_or(1),
            // Eight rows fill whole bytes, whatever the number of bits.
            Codec::Linear(..) | Codec::Palettize { .. } => 8 * row_len(self.shape),
        }
    }

    /// Whether every value must be seen before the first is encoded.
    pub(super) fn is_counting(&self) -> bool {
        matches!(self.codec, Codec::Palettize { counted: Counted::Counts(_), .. })
    }

    /// Chooses the palette, after [`Encode::apply`] has seen every value.
    pub(super) fn counted(&mut self) {
        if let Codec::Palettize { palettize, counted, .. } = &mut self.codec
            && let Counted::Counts(histogram) = counted
        {
            *counted = Counted::Palette(palettize.palette(histogram));
        }
    }

    /// Encodes the values of the output's `span`, or counts them.
    pub(super) fn apply(&mut self, span: Span<'_>, values: &[f32]) -> Result<()> {
        self.cast.apply(span, values, &mut self.bytes)?;
        if matches!(self.codec, Codec::Float) {
            return Ok(());
        }
        let rounded = match self.cast.to {
            Dtype::F32 => values,
            Dtype::F16 => widened(&SourceDtype::F16, &self.bytes, &mut self.rounded),
            Dtype::Bf16 => widened(&SourceDtype::Bf16, &self.bytes, &mut self.rounded),
        };
        match &mut self.codec {
            Codec::Float => {}
            Codec::Quantize(quantize, rows) => {
                quantize.apply(span, self.shape.last().copied().unwrap_or(1), rounded, rows)?;
            }
            Codec::Linear(quantize, codes) => quantize.apply(span, rounded, codes)?,
            Codec::Palettize { counted: Counted::Counts(histogram), .. } => histogram.add(rounded),
            Codec::Palettize { counted: Counted::Palette(palette), indices, .. } => palette.apply(rounded, indices),
        }
        Ok(())
    }

    /// Passes what was encoded last to `sink`.
    pub(super) fn pass_to(&self, sink: &mut Sink<'_>) -> Result<()> {
        match &self.codec {
            Codec::Float => sink(0, &self.bytes),
            Codec::Quantize(quantize, rows) => {
                sink(0, &rows.weight)?;
                sink(1, &rows.scales)?;
                if quantize.quantization.has_biases() { sink(2, &rows.biases) } else { Ok(()) }
            }
            Codec::Linear(quantize, codes) => {
                sink(0, &codes.codes)?;
                sink(1, &codes.scales)?;
                if quantize.codes.has_offset() { sink(2, &codes.offsets) } else { Ok(()) }
            }
            Codec::Palettize { indices, .. } => sink(0, indices),
        }
    }

    /// Passes what belongs to the whole tensor to `sink`.
    pub(super) fn finish(&self, sink: &mut Sink<'_>) -> Result<()> {
        match &self.codec {
            Codec::Palettize { counted: Counted::Palette(palette), .. } => sink(1, &palette.table()),
            _ => Ok(()),
        }
    }
}

/// The values of 16-bit floats.
fn widened<'v>(dtype: &SourceDtype, bytes: &[u8], values: &'v mut Vec<f32>) -> &'v [f32] {
    dtype.widen(bytes, values);
    values
}
