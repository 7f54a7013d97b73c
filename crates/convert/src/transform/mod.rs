//! What happens to a tensor on its way: one small type for each kind of change.
//!
//! A [`Step`] says which of them apply; [`execute`] applies them, in the order fuse, transpose, cast.

mod cast;
mod finite;
mod fuse_weight_norm;
mod transpose;

pub use cast::Cast;
pub use fuse_weight_norm::FuseWeightNorm;
use ndarray::{ArrayD, IxDyn};
pub use transpose::Transpose;

use crate::reader::{Checkpoint, read_f32};
use crate::{ConvertError, Result, Step, StepInput};

/// Runs one step: the little-endian, row-major bytes of its output.
///
/// # Errors
/// [`ConvertError`] if an input cannot be read, is not finite, or does not fit the output's dtype.
pub fn execute(step: &Step, checkpoint: &dyn Checkpoint) -> Result<Vec<u8>> {
    let load = |name: &str| load_finite(checkpoint, name);
    let mut tensor = match &step.input {
        StepInput::Tensor(name) => load(name)?,
        StepInput::WeightNorm { g, v, fuse } => fuse.apply(v, &load(g)?, &load(v)?)?,
    };
    if let Some(transpose) = &step.transpose {
        tensor = transpose.apply(&tensor);
    }
    step.cast.apply(&step.output, &tensor)
}

fn load_finite(checkpoint: &dyn Checkpoint, name: &str) -> Result<ArrayD<f32>> {
    let values = read_f32(checkpoint, name).map_err(ConvertError::ReadTensor)?;
    let shape = checkpoint.listing().tensors.get(name).map(|info| info.shape.as_slice()).unwrap_or(&[]);
    let tensor = ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|e| ConvertError::ReadTensor(std::io::Error::new(std::io::ErrorKind::InvalidData, e)))?;
    finite::check(name, &tensor)?;
    Ok(tensor)
}
