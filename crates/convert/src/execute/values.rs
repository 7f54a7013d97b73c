//! The values of a step's tensor in PyTorch's order, before they are reordered and encoded: read, fused from
//! factors, or merged with an adapter's change.

use std::ops::Range;

use mert_arch::Dtype;
use mert_checkpoint::Checkpoint;

use super::input::Input;
use super::norms::squares;
use crate::Result;
use crate::plan::Step;
use crate::transform::{AddScaled, FuseWeightNorm, LoraFactors, Span, Transform, check_finite};

/// The values of a tensor, read in pieces.
pub(super) struct Values<'a> {
    input: Input<'a>,
    change: Change<'a>,
    /// The type to which a cast will round them.
    to: Dtype,
    read: Vec<f32>,
    changed: Vec<f32>,
}

/// The change of the values of the input.
enum Change<'a> {
    None,
    /// The fusion of a weight norm, whose direction is the input.
    Fuse {
        fuse: &'a FuseWeightNorm,
        scales: Vec<f64>,
    },
    /// The merge of an adapter into the input.
    Merge(LoraFactors),
    /// The sum of the input, a bias, and another one.
    Add {
        add: &'a AddScaled,
        bias: Vec<f32>,
    },
}

impl<'a> Values<'a> {
    /// Opens the inputs of a step, and computes the norms that it needs.
    pub(super) fn open(step: &'a Step, checkpoint: &'a dyn Checkpoint) -> Result<Self> {
        let (to, mut read) = (step.cast().to, Vec::new());
        let mut inputs =
            step.inputs.iter().map(|input| Input::open(checkpoint, &input.key)).collect::<Result<Vec<_>>>()?;
        let mut change = Change::None;
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
                    change = Change::Fuse { fuse, scales: fuse.scales(v.name, &magnitudes, &squares)? };
                }
                Transform::MergeLora(merge) => {
                    let (a, b) = (inputs[1].all()?, inputs[2].all()?);
                    let magnitude = inputs.get(3).map(Input::all).transpose()?;
                    change = Change::Merge(merge.factors(a, b, magnitude, super::taps_len(inputs[0].shape)));
                }
                Transform::SumBiases => change = Change::Add { add: &AddScaled { scale: 1.0 }, bias: inputs[1].all()? },
                Transform::AddScaled(add) => change = Change::Add { add, bias: inputs[1].all()? },
                _ => {}
            }
        }
        // The sum with an adapter's change is one of f32.
        let to = if matches!(change, Change::None | Change::Fuse { .. }) { to } else { Dtype::F32 };
        Ok(Values { input: inputs.swap_remove(0), change, to, read, changed: Vec::new() })
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
        match self.change {
            Change::Fuse { .. } | Change::Merge(_) => super::taps_len(self.input.shape),
            Change::None | Change::Add { .. } => 1,
        }
    }

    /// The values of a range, such that a cast rounds once.
    pub(super) fn piece(&mut self, range: Range<usize>) -> &[f32] {
        let Values { input, change, to, read, changed } = self;
        let start = range.start;
        match change {
            Change::None => return input.values(range, *to, read),
            Change::Fuse { fuse, scales } if input.is_wide() => {
                fuse.apply(input.shape, start, scales, &input.wide_values(range), *to, changed);
            }
            Change::Fuse { fuse, scales } => {
                fuse.apply(input.shape, start, scales, input.values(range, *to, read), *to, changed);
            }
            Change::Merge(factors) => {
                let row = start / super::taps_len(input.shape).max(1);
                factors.apply(row, input.values(range, *to, read), changed);
            }
            Change::Add { add, bias } => add.apply(input.values(range.clone(), *to, read), &bias[range], changed),
        }
        changed
    }

    /// The values of the last piece's range before and after an adapter was merged into them; `None` without an adapter.
    pub(super) fn merged(&mut self, range: &Range<usize>) -> Option<(&[f32], &[f32])> {
        let Values { input, change, to, read, changed } = self;
        matches!(change, Change::Merge(_)).then(|| (input.values(range.clone(), *to, read), &changed[..]))
    }

    /// Refuses the last piece's range with a value of the input, or of the sum with an adapter's change, that is not finite.
    pub(super) fn check_finite(&mut self, range: &Range<usize>) -> Result<()> {
        let Values { input, change, to, read, changed } = self;
        if input.is_wide() {
            input.check_finite(range, &input.wide_values(range.clone()))?;
        } else {
            input.check_finite(range, input.values(range.clone(), *to, read))?;
        }
        if matches!(change, Change::Merge(_) | Change::Add { .. }) {
            let tensor = &format!("{} with the adapter merged", input.name);
            check_finite(Span { tensor, shape: input.shape, start: range.start }, changed)?;
        }
        Ok(())
    }

    /// The value of the file that became `narrowed` in a range, for an error message, if it is one value of the file.
    pub(super) fn original(&self, range: Range<usize>, narrowed: f64) -> Option<f64> {
        if !matches!(self.change, Change::None) {
            return None;
        }
        self.input.original(range, self.to, narrowed)
    }
}
