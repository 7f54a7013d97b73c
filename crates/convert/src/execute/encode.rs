//! The encoding of a piece of a tensor: the bytes of each tensor that is stored.

use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;

use super::{Sink, row_len};
use crate::Result;
use crate::plan::Step;
use crate::transform::{
    Cast, GgmlBlocks, Histogram, LinearCodes, LinearQuantize, Palette, Palettize, Quantize, QuantizedRows, Span,
    Transform, q4_1_blocks, q8_0_blocks, q8_0_values,
};

/// The last transforms of a chain, with the memory that they reuse.
pub(super) struct Encode<'a> {
    cast: &'a Cast,
    codec: Codec<'a>,
    /// The step's output shape.
    shape: &'a [usize],
    bytes: Vec<u8>,
    rounded: Vec<f32>,
    decoded: Vec<f32>,
}

/// What follows the cast.
enum Codec<'a> {
    /// Nothing.
    Float,
    /// Codes as MLX computes them.
    Quantize(&'a Quantize, QuantizedRows),
    /// MLX's codes in ggml's blocks.
    Q4_1(&'a Quantize, QuantizedRows),
    /// Codes and blocks as ggml computes them.
    Q8_0,
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

impl<'a> Codec<'a> {
    fn new(chain: &'a [Transform]) -> Self {
        chain.iter().fold(Codec::Float, |codec, transform| match (transform, codec) {
            (Transform::Quantize(quantize), _) => Codec::Quantize(quantize, QuantizedRows::default()),
            (Transform::GgmlBlocks(GgmlBlocks::Q4_1), Codec::Quantize(quantize, rows)) => Codec::Q4_1(quantize, rows),
            (Transform::GgmlBlocks(GgmlBlocks::Q8_0), _) => Codec::Q8_0,
            (Transform::LinearQuantize(quantize), _) => Codec::Linear(quantize, LinearCodes::default()),
            (Transform::Palettize(palettize), _) => {
                let counted = Counted::Counts(Histogram::default());
                Codec::Palettize { palettize, counted, indices: Vec::new() }
            }
            (_, codec) => codec,
        })
    }
}

impl<'a> Encode<'a> {
    pub(super) fn new(step: &'a Step) -> Self {
        let (bytes, rounded, decoded) = (Vec::new(), Vec::new(), Vec::new());
        Encode { cast: step.cast(), codec: Codec::new(&step.chain), shape: &step.shape, bytes, rounded, decoded }
    }

    /// The number of values in a row of the innermost axis.
    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of values of which a piece must be a multiple.
    pub(super) fn unit(&self) -> usize {
        match self.codec {
            Codec::Float => 1,
            Codec::Quantize(..) | Codec::Q4_1(..) | Codec::Q8_0 => self.columns(),
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
        let columns = self.columns();
        let rounded = match (&self.codec, self.cast.to) {
            (Codec::Float | Codec::Q8_0, _) | (_, Dtype::F32) => values,
            (_, Dtype::F16) => widened(&SourceDtype::F16, &self.bytes, &mut self.rounded),
            (_, Dtype::Bf16) => widened(&SourceDtype::Bf16, &self.bytes, &mut self.rounded),
        };
        match &mut self.codec {
            Codec::Float => {}
            Codec::Quantize(quantize, rows) => quantize.apply(span, columns, rounded, rows)?,
            Codec::Q4_1(quantize, rows) => {
                quantize.apply(span, columns, rounded, rows)?;
                q4_1_blocks(rows, quantize.quantization.group_size, &mut self.bytes);
            }
            Codec::Q8_0 => q8_0_blocks(span, values, &mut self.bytes)?,
            Codec::Linear(quantize, codes) => quantize.apply(span, rounded, codes)?,
            Codec::Palettize { counted: Counted::Counts(histogram), .. } => histogram.add(rounded),
            Codec::Palettize { counted: Counted::Palette(palette), indices, .. } => palette.apply(rounded, indices),
        }
        Ok(())
    }

    /// The values that a reader gets of what was encoded last.
    pub(super) fn decoded(&mut self) -> &[f32] {
        let decoded = &mut self.decoded;
        match &self.codec {
            Codec::Float => {
                let dtype = match self.cast.to {
                    Dtype::F16 => SourceDtype::F16,
                    Dtype::Bf16 => SourceDtype::Bf16,
                    Dtype::F32 => SourceDtype::F32,
                };
                dtype.widen(&self.bytes, decoded);
            }
            Codec::Quantize(quantize, rows) | Codec::Q4_1(quantize, rows) => quantize.decode(rows, decoded),
            Codec::Q8_0 => q8_0_values(&self.bytes, decoded),
            Codec::Linear(quantize, codes) => quantize.decode(codes, decoded),
            Codec::Palettize { counted: Counted::Palette(palette), .. } => palette.decode(&self.rounded, decoded),
            Codec::Palettize { counted: Counted::Counts(_), .. } => decoded.clone_from(&self.rounded),
        }
        decoded
    }

    /// Passes what was encoded last to `sink`.
    pub(super) fn pass_to(&self, sink: &mut Sink<'_>) -> Result<()> {
        match &self.codec {
            Codec::Float | Codec::Q4_1(..) | Codec::Q8_0 => sink(0, &self.bytes),
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
