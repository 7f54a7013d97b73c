//! The error that each layer adds to the hidden states in each encoding, measured on calibration clips.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use mert_runtime::{Model, Workspace};

use crate::choice::{Choosable, Problem};
use crate::clips::Clips;
use crate::goal::{Budget, Criterion};
use crate::losses::{Entry, LossLayout};
use crate::repair::Corrections;
use crate::subject::Subject;
use crate::worst_errors::WorstErrors;
use crate::{Progress, Result};

/// The losses of a model's layers in their encodings, one layer at a time, while all others have their original weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sensitivity {
    /// The losses of the model with everything in the float type.
    pub(crate) base: Vec<f32>,
    /// For each group, the losses of each candidate but the last, which is the float type.
    pub(crate) groups: Vec<Vec<Vec<f32>>>,
    pub(crate) layout: LossLayout,
}

impl Sensitivity {
    /// Measures every candidate of every group. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// Those of reading weights and of running the model.
    pub(crate) fn measure(
        subject: &Subject<'_>,
        exact: &Model,
        clips: &Clips<'_>,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        let groups = subject.groups();
        progress(Progress::Measurements(groups.iter().map(|group| group.candidates.len() - 1).sum()));
        let float: Vec<usize> = groups.iter().map(|group| group.candidates.len() - 1).collect();
        let base = clips.losses(&subject.model(&float)?)?;
        let mut workspace = Workspace::default();
        let mut layer_weights = (0, Default::default());
        let mut measured = Vec::with_capacity(groups.len());
        for group in groups {
            if group.layer > 0 && layer_weights.0 != group.layer {
                layer_weights = (group.layer, subject.layer_weights(group.layer)?);
            }
            let mut losses = Vec::with_capacity(group.candidates.len() - 1);
            for candidate in group.candidates.iter().take(group.candidates.len() - 1) {
                losses.push(match group.layer {
                    0 => clips.losses(&subject.model_with(group, candidate.quantization)?)?,
                    layer => {
                        let mut tensors = layer_weights.1.clone();
                        tensors.extend(subject.decoded(group, candidate.quantization)?);
                        let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
                        clips.losses_from(&exact.with_layer(layer, vb)?, layer, &mut workspace)?
                    }
                });
                progress(Progress::Measured(&group.module));
            }
            measured.push(losses);
        }
        Ok(Sensitivity { base, groups: measured, layout: clips.layout().clone() })
    }

    /// The errors that the errors of single layers predict for a mix.
    pub(crate) fn predicted(&self, choice: &[usize]) -> WorstErrors {
        WorstErrors::of_losses(self.predict(choice).into_iter(), &self.layout)
    }

    /// The choice of candidates with `costs` for each group, by losses in fractions of their corrected limits.
    pub(crate) fn problem(
        &self,
        budget: Budget,
        corrections: &Corrections,
        costs: impl Iterator<Item = Vec<usize>>,
    ) -> Problem {
        let entries = self.layout.entries();
        let factor = |(i, entry): (usize, &Entry)| {
            let limit = budget.limit(entry.criterion)?;
            let correction = corrections[entry.state * Criterion::ALL.len() + entry.criterion as usize];
            Some((i, (correction / limit) as f32))
        };
        let factors: Vec<(usize, f32)> = entries.iter().enumerate().filter_map(factor).collect();
        let scaled = |losses: &[f32]| factors.iter().map(|&(i, factor)| losses[i] * factor).collect();
        let groups = costs.zip(&self.groups).map(|(costs, measured)| {
            let losses = measured.iter().map(|losses| scaled(losses)).chain([Vec::new()]);
            costs.into_iter().zip(losses).map(|(bytes, losses)| Choosable { bytes, losses }).collect()
        });
        let weights = factors.iter().map(|&(i, _)| 1.0 / entries[i].among as f64).collect();
        Problem { base: scaled(&self.base), groups: groups.collect(), weights }
    }

    /// The predicted share of the error of each group, and of everything else, at the loss of a hidden state that is predicted to
    /// be largest: its clip, and of frames the frame.
    pub(crate) fn shares(&self, choice: &[usize], state: usize, criterion: Criterion) -> (Vec<f64>, f64) {
        let predicted = self.predict(choice);
        let mut at = None;
        for (i, entry) in self.layout.entries().iter().enumerate() {
            if (entry.state, entry.criterion) == (state, criterion) && at.is_none_or(|at| predicted[i] > predicted[at])
            {
                at = Some(i);
            }
        }
        let share = |losses: Option<&Vec<f32>>| {
            let loss = at.zip(losses).map_or(0.0, |(at, losses)| f64::from(losses[at]));
            at.map(|at| predicted[at]).filter(|&total| total > 0.0).map_or(0.0, |total| loss / total)
        };
        let groups = choice.iter().zip(&self.groups).map(|(&i, measured)| share(measured.get(i))).collect();
        (groups, share(Some(&self.base)))
    }

    /// The losses of a mix if those of its layers add up.
    fn predict(&self, choice: &[usize]) -> Vec<f64> {
        let mut sum: Vec<f64> = self.base.iter().copied().map(f64::from).collect();
        for (group, &i) in self.groups.iter().zip(choice) {
            if let Some(losses) = group.get(i) {
                sum.iter_mut().zip(losses).for_each(|(sum, &loss)| *sum += f64::from(loss));
            }
        }
        sum
    }
}
