//! The norms of a weight norm's direction: summed in a pass over it, checked, and written as a magnitude.

use mert_arch::Dtype;
use mert_checkpoint::Checkpoint;

use super::input::Input;
use super::{Sink, pieces, taps_len};
use crate::Result;
use crate::plan::Step;
use crate::transform::{FuseWeightNorm, Span, narrow};

/// The sums of squares for the norms of `v`, which must be finite.
pub(super) fn squares(fuse: &FuseWeightNorm, v: &Input<'_>, to: Dtype, scratch: &mut Vec<f32>) -> Result<Vec<f64>> {
    let mut squares = fuse.zeros(v.shape);
    for range in pieces(v.len(), taps_len(v.shape)) {
        if v.is_wide() {
            let values = v.wide_values(range.clone());
            v.check_finite(&range, &values)?;
            fuse.add_squares(v.shape, range.start, &values, &mut squares);
        } else {
            let values = v.values(range.clone(), to, scratch);
            v.check_finite(&range, values)?;
            fuse.add_squares(v.shape, range.start, values, &mut squares);
        }
    }
    Ok(squares)
}

/// Passes the norms of the step's input to `sink`, as the magnitude with which it is its own direction.
pub(super) fn execute_norms(
    step: &Step,
    fuse: &FuseWeightNorm,
    checkpoint: &dyn Checkpoint,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let v = Input::open(checkpoint, &step.inputs[0].key)?;
    let to = step.cast().to;
    let norms = fuse.norms(v.name, &squares(fuse, &v, to, &mut Vec::new())?)?;
    let norms: Vec<f32> = norms.into_iter().map(|norm| narrow(norm, to)).collect();
    let mut bytes = Vec::new();
    step.cast().apply(Span { tensor: &step.name, shape: &step.shape, start: 0 }, &norms, &mut bytes)?;
    sink(0, &bytes)
}
