//! The values of a step's tensor in PyTorch's order, before they are reordered and encoded: read, or fused from factors.

use std::ops::Range;

use mert_arch::Dtype;
use mert_checkpoint::Checkpoint;

use super::input::Input;
use super::norms::squares;
use crate::Result;
use crate::plan::Step;
use crate::transform::{FuseWeightNorm, Transform};

/// The values of a tensor, read in pieces.
pub(super) struct Values<'a> {
    input: Input<'a>,
    fused: Option<Fused<'a>>,
    /// The type to which a cast will round them.
    to: Dtype,
    read: Vec<f32>,
    changed: Vec<f32>,
}

/// The fusion of a weight norm, whose direction is the input.
struct Fused<'a> {
    fuse: &'a FuseWeightNorm,
    scales: Vec<f64>,
}

impl<'a> Values<'a> {
    /// Opens the inputs of a step, and computes the norms that it needs.
    pub(super) fn open(step: &'a Step, checkpoint: &'a dyn Checkpoint) -> Result<Self> {
        let (to, mut read) = (step.cast().to, Vec::new());
        let mut inputs =
            step.inputs.iter().map(|input| Input::open(checkpoint, &input.key)).collect::<Result<Vec<_>>>()?;
        let mut fused = None;
        for transform in &step.chain {
            match transform {
                Transform::WeightNormDirection(fuse) => {
                    let v = &inputs[0];
                    fuse.norms(v.name, &squares(fuse, v, to, &mut read)?)?;
                }
                Transform::FuseWeightNorm(fuse) => {
                    let g = inputs.remove(0);
                    let magnitudes = g.wide_values(0..g.len());
                    g.check_finite(&(0..g.len()), &magnitudes)?;
                    let v = &inputs[0];
                    let squares = squares(fuse, v, to, &mut read)?;
                    fused = Some(Fused { fuse, scales: fuse.scales(v.name, &magnitudes, &squares)? });
                }
                _ => {}
            }
        }
        Ok(Values { input: inputs.swap_remove(0), fused, to, read, changed: Vec::new() })
    }

    /// The shape.
    pub(super) fn shape(&self) -> &'a [usize] {
        self.input.shape
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.input.len()
    }

    /// The number of values of which a piece should be a multiple.
    pub(super) fn unit(&self) -> usize {
        if self.fused.is_some() { super::taps_len(self.input.shape) } else { 1 }
    }

    /// The values of a range, such that a cast rounds once.
    pub(super) fn piece(&mut self, range: Range<usize>) -> &[f32] {
        let Values { input, fused, to, read, changed } = self;
        let Some(Fused { fuse, scales }) = fused else { return input.values(range, *to, read) };
        let start = range.start;
        if input.is_wide() {
            fuse.apply(input.shape, start, scales, &input.wide_values(range), *to, changed);
        } else {
            fuse.apply(input.shape, start, scales, input.values(range, *to, read), *to, changed);
        }
        changed
    }

    /// Refuses a range with a value of the input that is not finite.
    pub(super) fn check_finite(&mut self, range: &Range<usize>) -> Result<()> {
        let Values { input, to, read, .. } = self;
        if input.is_wide() {
            return input.check_finite(range, &input.wide_values(range.clone()));
        }
        input.check_finite(range, input.values(range.clone(), *to, read))
    }

    /// The value of the file that became `narrowed` in a range, for an error message, if it is one value of the file.
    pub(super) fn original(&self, range: Range<usize>, narrowed: f64) -> Option<f64> {
        if self.fused.is_some() {
            return None;
        }
        self.input.original(range, self.to, narrowed)
    }
}
