//! A part of the forward pass: from a hidden state on, with the weights of one layer replaced, as measurements of single
//! layers need it.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{ComputeType, Int8Exceptions};

use super::{Engine, Model, Workspace};
use crate::cpu::ModuleFactors;
use crate::{ConvertedFile, Error};

impl Model {
    /// The same model with the weights of layer `layer`, where 1 is the first, from `vb`, which holds them under the
    /// checkpoint's own names (`encoder.layers.0.…` for layer 1). All other weights are shared with this model.
    ///
    /// # Errors
    /// [`Error::HiddenState`] unless 1 ≤ `layer` ≤ the number of layers; [`Error::Candle`] naming a tensor that is missing
    /// or has another shape.
    pub fn with_layer(&self, layer: usize, vb: VarBuilder) -> Result<Model, Error> {
        self.check_layer(layer)?;
        let engine = match &self.engine {
            Engine::Cpu(model) => Engine::Cpu(Arc::new(model.with_layer(layer, vb)?)),
            Engine::Candle(model) => Engine::Candle(Arc::new(model.with_layer(layer, vb, &self.config)?)),
        };
        Ok(Model { engine, ..self.clone() })
    }

    /// The same model with one part as `file` has it, to multiply 8-bit integers, but for `exceptions`: layer `layer`, where 1 is the
    /// first, or with 0 all that comes before the layers. All other weights are shared with this model, which is one of the CPU's own
    /// engine, and attention multiplies what it does there.
    ///
    /// # Errors
    /// [`Error::HiddenState`] if there is no such layer; [`Error::ComputeType`] for another engine's model.
    pub fn with_int8_part(
        &self,
        layer: usize,
        file: &ConvertedFile,
        exceptions: &Int8Exceptions,
    ) -> Result<Model, Error> {
        self.check_layer(layer.max(1))?;
        let Engine::Cpu(model) = &self.engine else { return Err(Error::ComputeType { compute: ComputeType::Int8 }) };
        let model = model.with_int8_part(layer, file, &ModuleFactors::of(exceptions))?;
        Ok(Model { engine: Engine::Cpu(Arc::new(model)), ..self.clone() })
    }

    /// Computes the hidden states from `first` to the last, given hidden state `first` − 1 as `previous`
    /// `(clips · frames, hidden_size)`. `on_state` gets each once, in ascending order, as `(clips · frames, hidden_size)`.
    ///
    /// From a hidden state of this model they are those of [`Model::hidden_states_in`], to the last bit.
    ///
    /// # Errors
    /// [`Error::HiddenState`] unless 1 ≤ `first` ≤ the number of layers, [`Error::FrameCount`] if `previous` is not whole
    /// clips of `frames` frames.
    pub fn hidden_states_from(
        &self,
        workspace: &mut Workspace,
        first: usize,
        previous: &[f32],
        frames: usize,
        mut on_state: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check_layer(first)?;
        let width = self.config.hidden_size;
        if previous.is_empty() || !previous.len().is_multiple_of((frames * width).max(1)) {
            let (values, projected) = (previous.len(), frames * width);
            return Err(Error::FrameCount { values, inputs: width, projected, outputs: width });
        }
        let last = self.config.num_hidden_layers;
        match &self.engine {
            Engine::Cpu(model) => model.layers(&mut workspace.cpu, first..last + 1, previous, frames, on_state),
            Engine::Candle(model) => {
                let shape = (previous.len() / frames / width, frames, width);
                let mut state = Tensor::from_slice(previous, shape, &self.device)?.to_dtype(self.dtype)?;
                for index in first..=last {
                    state = model.layer(index, &state)?;
                    on_state(index, &state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
                }
            }
        }
        Ok(())
    }

    fn check_layer(&self, layer: usize) -> Result<(), Error> {
        let last = self.config.num_hidden_layers;
        match (1..=last).contains(&layer) {
            true => Ok(()),
            false => Err(Error::HiddenState { requested: vec![layer], last }),
        }
    }
}
