//! The weights of a converted file in libtorch, for timing libtorch beside the runtime. It is apart from the reference,
//! because a conversion is never judged by its own weights.

use mert_arch::Dtype;
use mert_runtime::ConvertedFile;
use ndarray::Array2;
use tch::Tensor;

use super::attention::AttentionKind;
use super::forward::Encoder;
use super::tensors::Loader;
use super::weights::Weights;
use crate::{ModelEncoding, Result, VerifyError};

/// A converted file's weights in libtorch, in f32, on the CPU.
pub struct ConvertedInLibtorch(Encoder);

impl ConvertedInLibtorch {
    /// Loads the weights. Attention is libtorch's `scaled_dot_product_attention`, unless the model relaxes it.
    ///
    /// # Errors
    /// [`VerifyError::Runtime`] if the file cannot be read, [`VerifyError::Libtorch`] if libtorch fails.
    pub fn load(file: &ConvertedFile) -> Result<Self> {
        let weights = Weights::of_converted(file)?;
        let encoding = ModelEncoding::of_floats(Dtype::F32);
        let loader = Loader { weights: &weights, encoding: &encoding, decoded: None };
        let model = Encoder::new(&file.metadata().config, &loader, AttentionKind::Sdpa);
        Ok(ConvertedInLibtorch(model.map_err(|error| error.into_verify_error(file.path()))?))
    }

    /// Prepares forward passes over `batch` copies of a clip on `threads` threads, up to hidden state `highest`.
    ///
    /// # Errors
    /// [`VerifyError::Libtorch`] if libtorch fails.
    pub fn forward(&self, clip: &[f32], batch: usize, highest: usize, threads: i32) -> Result<LibtorchForward<'_>> {
        let input = Tensor::from_slice(clip).f_unsqueeze(0)?.f_repeat([batch as i64, 1])?;
        Ok(LibtorchForward { model: &self.0, input, highest, threads })
    }
}

/// A prepared forward pass of libtorch.
pub struct LibtorchForward<'a> {
    model: &'a Encoder,
    input: Tensor,
    highest: usize,
    threads: i32,
}

impl LibtorchForward<'_> {
    /// Runs the forward pass once.
    ///
    /// # Errors
    /// [`VerifyError::Libtorch`] if libtorch fails.
    pub fn run(&self) -> Result<LibtorchStates> {
        // The number of threads belongs to the process; setting the same number again has no effect.
        tch::set_num_threads(self.threads);
        let _no_grad = tch::no_grad_guard();
        Ok(LibtorchStates(self.model.states(&self.input, self.highest)?))
    }
}

/// The hidden states that a forward pass of libtorch returned, in libtorch's memory.
pub struct LibtorchStates(Vec<Tensor>);

impl LibtorchStates {
    /// Copies the highest hidden state, `(batch · frames, width)`.
    ///
    /// # Errors
    /// [`VerifyError::Libtorch`] if libtorch fails.
    pub fn into_highest(mut self) -> Result<Array2<f32>> {
        let Some(state) = self.0.pop() else {
            return Err(VerifyError::NothingToCompare("no hidden state was selected".into()));
        };
        let (batch, frames, width) = state.size3()?;
        let values: Vec<f32> = Vec::try_from(state.f_reshape([-1])?)?;
        let shape = ((batch * frames) as usize, width as usize);
        Array2::from_shape_vec(shape, values)
            .map_err(|source| VerifyError::HiddenStateShape { shape: vec![shape.0, shape.1], source })
    }
}
