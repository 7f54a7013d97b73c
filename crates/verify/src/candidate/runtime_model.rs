//! What candidates that the runtime runs have in common: the forward pass, each layer alone, and the final LayerNorm.

use candle_core::{Device, Tensor};
use mert_arch::Config;
use mert_runtime::{Model, VarBuilder};
use ndarray::{ArrayView3, Axis};

use super::{EncoderNorm, HiddenStates, to_array};
use crate::Result;

/// Runs a model on a clip and returns the hidden states `wanted`.
///
/// # Errors
/// [`VerifyError::Runtime`](crate::VerifyError::Runtime) for an input that the model refuses.
pub fn hidden_states(model: &Model, input_values: &[f32], wanted: &[usize]) -> Result<HiddenStates> {
    let states = model.hidden_states(input_values, wanted)?;
    wanted.iter().zip(states).map(|(&index, state)| Ok((index, to_array(&state)?))).collect()
}

/// Runs each layer on the reference's own hidden state below it, as
/// [`RunIsolated::run_isolated`](super::RunIsolated::run_isolated) does.
pub(super) fn run_isolated(
    model: &Model,
    input_values: &[f32],
    reference: ArrayView3<f32>,
    wanted: &[usize],
) -> Result<HiddenStates> {
    let (available, _, width) = reference.dim();
    let mut states = HiddenStates::new();
    for &index in wanted {
        if index == 0 {
            states.extend(hidden_states(model, input_values, &[0])?);
        } else if index <= available && width == model.config().hidden_size {
            let previous = reference.index_axis(Axis(0), index - 1);
            let values: Vec<f32> = previous.iter().copied().collect();
            let previous = Tensor::from_vec(values, (1, previous.nrows(), width), &Device::Cpu)?;
            states.insert(index, to_array(&model.hidden_state_from_previous(index, &previous)?)?);
        }
    }
    Ok(states)
}

/// The encoder's final LayerNorm, for a pre-LN model; `weights` are in f32.
pub(super) fn encoder_norm(config: &Config, weights: &VarBuilder<'_>) -> Result<Option<EncoderNorm>> {
    if !config.do_stable_layer_norm {
        return Ok(None);
    }
    let read = |name: &str| weights.get(config.hidden_size, &format!("encoder.layer_norm.{name}"))?.to_vec1();
    Ok(Some(EncoderNorm { gain: read("weight")?, bias: read("bias")?, eps: config.layer_norm_eps }))
}
