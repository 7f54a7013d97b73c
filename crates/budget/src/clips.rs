//! Clips with the hidden states that the original model returns for them, and the losses of other models beside those.

use std::path::Path;

use mert_runtime::{DeviceKind, Dtype, Model, Workspace};

use crate::audio::Clip;
use crate::losses::{LossLayout, fill};
use crate::worst_errors::WorstErrors;
use crate::{BudgetError, Result};

/// Clips with their reference hidden states.
#[derive(Debug)]
pub(crate) struct Clips<'a> {
    clips: &'a [Clip],
    /// Every hidden state `(frames, width)` of every clip.
    references: Vec<Vec<Vec<f32>>>,
    width: usize,
    layout: LossLayout,
}

impl<'a> Clips<'a> {
    /// Computes the reference hidden states of clips.
    ///
    /// # Errors
    /// [`BudgetError::Model`] for a clip that the model cannot take, [`BudgetError::NotFinite`].
    pub(crate) fn new(model: &Model, clips: &'a [Clip]) -> Result<Self> {
        let (width, states) = (model.config().hidden_size, model.config().num_hidden_layers + 1);
        let all: Vec<usize> = (0..states).collect();
        let mut workspace = Workspace::default();
        let mut references = Vec::with_capacity(clips.len());
        for clip in clips {
            let mut hidden_states = Vec::with_capacity(states);
            model.hidden_states_in(&mut workspace, &clip.input_values, &all, |_, state| {
                hidden_states.push(state.to_vec());
            })?;
            if let Some(state) = hidden_states.iter().position(|state| state.iter().any(|value| !value.is_finite())) {
                return Err(BudgetError::NotFinite { state, clip: clip.name.clone() });
            }
            references.push(hidden_states);
        }
        let frames = references.iter().map(|states: &Vec<Vec<f32>>| states[0].len() / width).collect();
        Ok(Clips { clips, references, width, layout: LossLayout::new(frames, states) })
    }

    pub(crate) fn layout(&self) -> &LossLayout {
        &self.layout
    }

    /// The worst errors of a model on these clips.
    ///
    /// # Errors
    /// [`BudgetError::Model`].
    pub(crate) fn worst_errors(&self, model: &Model) -> Result<WorstErrors> {
        Ok(WorstErrors::of_losses(self.losses(model)?.into_iter().map(f64::from), &self.layout))
    }

    /// The losses of a model.
    pub(crate) fn losses(&self, model: &Model) -> Result<Vec<f32>> {
        let mut losses = vec![0.0; self.layout.len()];
        let all: Vec<usize> = (0..self.layout.states()).collect();
        let mut workspace = Workspace::default();
        for (clip, references) in self.references.iter().enumerate() {
            model.hidden_states_in(&mut workspace, &self.clips[clip].input_values, &all, |index, state| {
                fill(&mut losses[self.layout.range(clip, index)], state, &references[index], self.width);
            })?;
        }
        Ok(losses)
    }

    /// The losses of a model that differs from the original in layer `layer` only: it goes on from the original's hidden
    /// state before that layer.
    pub(crate) fn losses_from(&self, model: &Model, layer: usize, workspace: &mut Workspace) -> Result<Vec<f32>> {
        let mut losses = vec![0.0; self.layout.len()];
        for (clip, references) in self.references.iter().enumerate() {
            let previous = &references[layer - 1];
            model.hidden_states_from(workspace, layer, previous, previous.len() / self.width, |index, state| {
                fill(&mut losses[self.layout.range(clip, index)], state, &references[index], self.width);
            })?;
        }
        Ok(losses)
    }
}

/// Loads a converted file or folder as a user of it would, and measures it on clips.
pub(crate) fn measure_file(path: &Path, clips: &Clips<'_>) -> Result<WorstErrors> {
    clips.worst_errors(&Model::open(path, Dtype::F32, &DeviceKind::Cpu.open()?)?)
}
