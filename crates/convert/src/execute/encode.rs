//! The encoding of a piece of a tensor: the bytes of each tensor that is stored.

use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;

use super::Sink;
use crate::Result;
use crate::plan::Step;
use crate::transform::{Cast, Span};

/// The last transforms of a chain, with the memory that they reuse.
pub(super) struct Encode<'a> {
    cast: &'a Cast,
    bytes: Vec<u8>,
    decoded: Vec<f32>,
}

impl<'a> Encode<'a> {
    pub(super) fn new(step: &'a Step) -> Self {
        Encode { cast: step.cast(), bytes: Vec::new(), decoded: Vec::new() }
    }

    /// Encodes the values of the output's `span`.
    pub(super) fn apply(&mut self, span: Span<'_>, values: &[f32]) -> Result<()> {
        self.cast.apply(span, values, &mut self.bytes)
    }

    /// The values that a reader gets of what was encoded last.
    pub(super) fn decoded(&mut self) -> &[f32] {
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
        sink(0, &self.bytes)
    }
}
