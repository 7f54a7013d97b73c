//! The execution of a plan's steps: one tensor, a piece of it at a time.

mod input;
mod norms;

use std::ops::Range;

use mert_checkpoint::Checkpoint;

use self::input::Input;
use self::norms::{execute_norms, squares};
use crate::plan::{Step, StepInput};
use crate::transform::Span;
use crate::{ConvertError, Result};

/// The number of values in a piece: the values that pass from one transform to the next stay in the second-level cache.
const PIECE: usize = 1 << 15;

/// Runs one step and passes the little-endian, row-major bytes of its output to `sink` in pieces, in order. The transforms
/// apply in the order fuse, transpose, cast.
///
/// A piece is 32 768 values, or one row of the outermost axis if the step reorders values within a row and rows are
/// longer.
///
/// # Errors
/// [`ConvertError`] if an input cannot be read, is not finite, or overflows the output's dtype; errors of `sink`. `sink` may
/// have received some pieces before.
pub(crate) fn execute(
    step: &Step,
    checkpoint: &dyn Checkpoint,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (mut scratch, mut fused, mut moved, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let to = step.cast.to;
    let (input, fuse) = match &step.input {
        StepInput::Tensor(name) => (Input::open(checkpoint, name)?, None),
        StepInput::Norms { v, fuse } => return execute_norms(step, v, fuse, checkpoint, sink),
        StepInput::Direction { v, fuse } => {
            let v = Input::open(checkpoint, v)?;
            fuse.norms(v.name, &squares(fuse, &v, to, &mut scratch)?)?;
            (v, None)
        }
        StepInput::WeightNorm { g, v, fuse } => {
            let g = Input::open(checkpoint, g)?;
            let magnitudes = g.wide_values(0..g.len());
            g.check_finite(&(0..g.len()), &magnitudes)?;
            let v = Input::open(checkpoint, v)?;
            let squares = squares(fuse, &v, to, &mut scratch)?;
            let scales = fuse.scales(v.name, &magnitudes, &squares)?;
            (v, Some((fuse, scales)))
        }
    };
    let unit = match &step.transpose {
        Some(transpose) if transpose.keeps_rows() => row_len(input.shape),
        Some(_) => input.len(),
        None if fuse.is_some() => taps_len(input.shape),
        None => 1,
    };
    let mut overflow = None;
    for range in pieces(input.len(), unit) {
        let values = match &fuse {
            None => input.values(range.clone(), to, &mut scratch),
            Some((fuse, scales)) if input.is_wide() => {
                fuse.apply(input.shape, range.start, scales, &input.wide_values(range.clone()), to, &mut fused);
                &fused
            }
            Some((fuse, scales)) => {
                let values = input.values(range.clone(), to, &mut scratch);
                fuse.apply(input.shape, range.start, scales, values, to, &mut fused);
                &fused
            }
        };
        let ordered = match &step.transpose {
            Some(transpose) => {
                let mut shape = input.shape.to_vec();
                if let (true, Some(rows)) = (transpose.keeps_rows(), shape.first_mut()) {
                    *rows = range.len() / unit.max(1);
                }
                transpose.apply(&shape, values, &mut moved);
                &moved
            }
            None => values,
        };
        let span = Span { tensor: &step.output, shape: &step.shape, start: range.start };
        match step.cast.apply(span, ordered, &mut bytes) {
            Ok(()) if overflow.is_none() => sink(&bytes)?,
            Ok(()) => {}
            Err(mut error) => {
                // A NaN or an infinity, here or in a later piece, explains more than a value that overflows.
                if input.is_wide() {
                    input.check_finite(&range, &input.wide_values(range.clone()))?;
                } else {
                    input.check_finite(&range, values)?;
                }
                if let (ConvertError::Overflow { value, .. }, None) = (&mut error, &fuse) {
                    *value = input.original(range, to, *value).unwrap_or(*value);
                }
                overflow.get_or_insert(error);
            }
        }
    }
    overflow.map_or(Ok(()), Err)
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
