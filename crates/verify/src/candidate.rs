//! Running the converted model on a reference's input.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mert_runtime::Model;
use ndarray::{Array2, ArrayView3, Axis};

use crate::Result;

/// Hidden states by index, each `(frames, width)`.
pub type HiddenStates = BTreeMap<usize, Array2<f32>>;

/// Runs the model from the samples up, as a user does.
///
/// # Errors
/// [`VerifyError::Runtime`](crate::VerifyError::Runtime) for an input that the model refuses.
pub fn cumulative(model: &Model, input_values: &[f32], wanted: &[usize]) -> Result<HiddenStates> {
    let states = model.hidden_states(input_values, wanted)?;
    wanted.iter().zip(states).map(|(&index, state)| Ok((index, to_array(&state)?))).collect()
}

/// Runs each layer alone, on the reference's own hidden state below it, so that a layer is not blamed
/// for the ones before it. Hidden state 0 comes from the samples.
///
/// A hidden state whose predecessor the reference lacks, or holds in another width, is left out.
///
/// # Errors
/// As [`cumulative`].
pub fn isolated(
    model: &Model,
    input_values: &[f32],
    reference: ArrayView3<f32>,
    wanted: &[usize],
) -> Result<HiddenStates> {
    let (available, _, width) = reference.dim();
    let mut states = HiddenStates::new();
    for &index in wanted {
        if index == 0 {
            states.extend(cumulative(model, input_values, &[0])?);
        } else if index <= available && width == model.config().hidden_size {
            let previous = reference.index_axis(Axis(0), index - 1);
            let values: Vec<f32> = previous.iter().copied().collect();
            let previous = Tensor::from_vec(values, (1, previous.nrows(), width), &Device::Cpu)?;
            states.insert(index, to_array(&model.hidden_state_from_previous(index, &previous)?)?);
        }
    }
    Ok(states)
}

fn to_array(state: &Tensor) -> Result<Array2<f32>> {
    let (_, frames, width) = state.dims3()?;
    let values = state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    // The batch is one clip, so the product of the extents is the number of values.
    Array2::from_shape_vec((frames, width), values)
        .map_err(|e| candle_core::Error::Msg(format!("hidden state of shape {:?}: {e}", state.shape())).into())
}
