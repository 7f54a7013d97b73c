use std::time::Instant;

use mert_arch::Dtype;
use mert_runtime::ConvertedFile;
use ndarray::Array2;
use tch::{TchError, Tensor};

use super::{Engine, Workload};
use crate::reference::libtorch::forward::{Attention, Hubert};
use crate::reference::libtorch::weights::Weights;
use crate::{Result, VerifyError};

/// A converted file's weights in libtorch, in f32, on the CPU.
pub struct LibtorchModel(Hubert);

impl LibtorchModel {
    /// Loads the weights.
    ///
    /// # Errors
    /// [`VerifyError::Runtime`] if the file cannot be read, [`VerifyError::Libtorch`] if libtorch fails.
    pub fn load(file: &ConvertedFile) -> Result<Self> {
        let weights = Weights::of_converted(file)?;
        let model = Hubert::new(&file.metadata().config, &weights, Dtype::F32, Attention::Fused);
        Ok(LibtorchModel(model.map_err(|error| error.into_verify_error(file.path()))?))
    }
}

/// libtorch, eager, in this process: its own convolutions, GELU and norms, and
/// `scaled_dot_product_attention` unless the model relaxes its attention.
pub struct Libtorch<'a> {
    model: &'a LibtorchModel,
    input: Tensor,
    highest: usize,
    threads: i32,
}

impl<'a> Libtorch<'a> {
    /// Prepares to run `workload` on `threads` threads.
    ///
    /// # Errors
    /// [`VerifyError::Threads`] if libtorch cannot count so many, [`VerifyError::Libtorch`] if it fails.
    pub fn new(model: &'a LibtorchModel, workload: &Workload, threads: usize) -> Result<Self> {
        let threads =
            i32::try_from(threads).map_err(|e| VerifyError::Threads { threads, reason: format!("libtorch: {e}") })?;
        let clip = Tensor::from_slice(workload.clip());
        let input = clip.f_unsqueeze(0).and_then(|clip| clip.f_repeat([workload.batch() as i64, 1])).map_err(failed)?;
        Ok(Libtorch { model, input, highest: workload.highest(), threads })
    }

    fn states(&self) -> Result<Vec<Tensor>> {
        // The number belongs to the process; it does nothing if it is the same as before.
        tch::set_num_threads(self.threads);
        let _no_grad = tch::no_grad_guard();
        self.model.0.states(&self.input, self.highest).map_err(failed)
    }
}

fn failed(error: TchError) -> VerifyError {
    VerifyError::Libtorch(error.to_string())
}

impl Engine for Libtorch<'_> {
    fn name(&self) -> &str {
        // The version that `tch` binds, and no other.
        "libtorch 2.13.0"
    }

    fn run(&self) -> Result<f64> {
        let started = Instant::now();
        let states = self.states()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(states);
        Ok(seconds)
    }

    fn highest_state(&self) -> Result<Array2<f32>> {
        let mut states = self.states()?;
        let Some(state) = states.pop() else {
            return Err(VerifyError::NothingToCompare("no hidden state is asked for".into()));
        };
        let (batch, frames, width) = state.size3().map_err(failed)?;
        let values: Vec<f32> = state.f_reshape([-1]).and_then(Vec::try_from).map_err(failed)?;
        Array2::from_shape_vec(((batch * frames) as usize, width as usize), values)
            .map_err(|e| failed(TchError::Shape(e.to_string())))
    }
}
