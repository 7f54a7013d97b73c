//! The execution of a plan's steps: one tensor, a piece of it at a time.
//!
//! - this file: the run of a chain over the pieces of a tensor.
//! - `input.rs`: a tensor of the checkpoint; `values.rs`: the values of a step; `norms.rs`: those of a weight norm.
//! - `encode.rs`: the bytes that are stored; `delta.rs`: what they keep of an adapter's change.

mod delta;
mod encode;
mod input;
mod norms;
mod values;

use std::ops::Range;

use mert_checkpoint::Checkpoint;

pub(crate) use self::delta::DeltaSums;
use self::encode::Encode;
use self::norms::execute_norms;
use self::values::Values;
use crate::plan::Step;
use crate::transform::{Span, Transform};
use crate::{ConvertError, Result};

/// The number of values in a piece: the values that pass from one transform to the next stay in the second-level cache.
const PIECE: usize = 1 << 15;

/// A receiver of the bytes to store: the index in [`Step::outputs`], and bytes that follow those that it got before.
pub type Sink<'a> = dyn FnMut(usize, &[u8]) -> Result<()> + 'a;

/// Runs one step and passes the little-endian, row-major bytes of its outputs to `sink` in pieces, in order. The values of a
/// weight that is palettized are read twice.
///
/// A piece is 32 768 values, or one row if the step works on whole rows and they are longer: rows of the outermost axis where
/// values are reordered within them, of the innermost where they are quantized, and eight of the outermost where they are
/// compressed.
///
/// Returns what is stored of the change if an adapter is merged.
///
/// # Errors
/// [`ConvertError`] if an input cannot be read, is not finite, or overflows the output's dtype; errors of `sink`. `sink` may
/// have received some pieces before.
pub(crate) fn execute(step: &Step, checkpoint: &dyn Checkpoint, sink: &mut Sink<'_>) -> Result<Option<DeltaSums>> {
    if let Some(Transform::WeightNormMagnitude(fuse)) = step.chain.first() {
        return execute_norms(step, fuse, checkpoint, sink).map(|()| None);
    }
    let mut values = Values::open(step, checkpoint)?;
    let mut encode = Encode::new(step);
    if encode.is_counting() {
        encode_pieces(step, &mut values, &mut encode, None)?;
        encode.counted();
    }
    let delta = encode_pieces(step, &mut values, &mut encode, Some(sink))?;
    encode.finish(sink)?;
    Ok(delta)
}

/// Runs one step as a conversion does, and passes the little-endian, row-major bytes of its outputs to `sink` in pieces.
///
/// # Errors
/// [`ConvertError`] if an input cannot be read, is not finite, or overflows the output's dtype; errors of `sink`, which may
/// have received some pieces before.
pub fn run_step(step: &Step, checkpoint: &dyn Checkpoint, sink: &mut Sink<'_>) -> Result<()> {
    execute(step, checkpoint, sink).map(drop)
}

/// Runs a step on its values, a piece at a time, and passes what was encoded to `sink`, if there is one. Returns what is stored
/// of an adapter's change.
fn encode_pieces(
    step: &Step,
    values: &mut Values<'_>,
    encode: &mut Encode<'_>,
    mut sink: Option<&mut Sink<'_>>,
) -> Result<Option<DeltaSums>> {
    let shape = values.shape();
    let transpose = step.transpose();
    let unit = match transpose {
        Some(transpose) if transpose.keeps_rows() => row_len(shape),
        Some(_) => values.len(),
        // Either is 1 or a row: weight norm is on convolutions, adapters are on linear layers, and these are quantized.
        None => values.unit().max(encode.unit()),
    };
    let (mut moved, mut overflow, mut delta) = (Vec::new(), None, None);
    for range in pieces(values.len(), unit) {
        let piece = values.piece(range.clone());
        let ordered = match transpose {
            Some(transpose) => {
                let mut shape = shape.to_vec();
                if let (true, Some(rows)) = (transpose.keeps_rows(), shape.first_mut()) {
                    *rows = range.len() / unit.max(1);
                }
                transpose.apply(&shape, piece, &mut moved);
                &moved
            }
            None => piece,
        };
        let span = Span { tensor: &step.name, shape: &step.shape, start: range.start };
        match encode.apply(span, ordered) {
            Ok(()) => {
                if let (None, Some(sink)) = (&overflow, &mut sink) {
                    if let Some((before, merged)) = values.merged(&range) {
                        delta.get_or_insert_with(DeltaSums::default).add(before, merged, encode.decoded());
                    }
                    encode.pass_to(sink)?;
                }
            }
            Err(mut error) => {
                // A NaN or an infinity, here or in a later piece, explains more than a value that overflows.
                values.check_finite(&range)?;
                if let ConvertError::Overflow { value, .. } = &mut error {
                    *value = values.original(range, *value).unwrap_or(*value);
                }
                overflow.get_or_insert(error);
            }
        }
    }
    overflow.map_or(Ok(delta), Err)
}

/// The number of values in one row of the outermost axis.
fn row_len(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}

/// The number of values along the innermost axis; weight norm is fastest on whole rows of them.
fn taps_len(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// Ranges of about [`PIECE`] values, each a multiple of `unit` long.
fn pieces(len: usize, unit: usize) -> impl Iterator<Item = Range<usize>> {
    let unit = unit.max(1);
    let piece = (PIECE / unit).max(1) * unit;
    (0..len).step_by(piece).map(move |start| start..len.min(start + piece))
}
