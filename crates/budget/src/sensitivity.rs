//! The error that each layer adds to the hidden states in each encoding, measured on calibration clips.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use mert_runtime::{Model, Workspace};

use crate::clips::Clips;
use crate::losses::LossLayout;
use crate::subject::Subject;
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

    /// The losses of a mix if those of its layers add up.
    pub(crate) fn predict(&self, choice: &[usize]) -> Vec<f64> {
        let mut sum: Vec<f64> = self.base.iter().copied().map(f64::from).collect();
        for (group, &i) in self.groups.iter().zip(choice) {
            if let Some(losses) = group.get(i) {
                sum.iter_mut().zip(losses).for_each(|(sum, &loss)| *sum += f64::from(loss));
            }
        }
        sum
    }
}
