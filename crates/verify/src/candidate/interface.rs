//! The interface of a candidate: what the gate needs of a converted model, whatever its format.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{D, DType, Tensor};
use mert_arch::{ComputeType, Encoding, Metadata, TensorSpec};
use ndarray::{Array2, ArrayView3, Axis, CowArray, Ix3};
use serde::Serialize;

use super::{CompressedWeights, EncoderNorm};
use crate::{ModelEncoding, Result, VerifyError};

/// Hidden states by index, each `(frames, width)`.
pub type HiddenStates = BTreeMap<usize, Array2<f32>>;

/// The form in which a model returns its hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Every frame.
    Frames,
    /// The mean over frames.
    Pooled,
}

impl Output {
    /// The name shown in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Output::Frames => "frames",
            Output::Pooled => "pooled",
        }
    }

    /// Converts the hidden states of a reference, `(hidden states, frames, width)`, to this form; pooled states are
    /// `(1, width)` each. Means are computed in f64.
    pub(crate) fn of_reference(self, states: ArrayView3<'_, f32>) -> CowArray<'_, f32, Ix3> {
        match self {
            Output::Frames => states.into(),
            Output::Pooled => {
                let frames = states.len_of(Axis(1)).max(1) as f64;
                let sums = states.mapv(f64::from).sum_axis(Axis(1));
                sums.mapv(|sum| (sum / frames) as f32).insert_axis(Axis(1)).into()
            }
        }
    }
}

/// The weight of a linear layer as a model stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeight {
    /// The encoding, with the type in which its own scales and biases are stored.
    pub encoding: Encoding,
    /// The decoded values, row by row.
    pub values: Vec<f32>,
}

/// A converted model that can be run.
pub trait Candidate {
    /// The path of the model.
    fn path(&self) -> &Path;

    /// The metadata that the converter wrote into the model.
    fn metadata(&self) -> &Metadata;

    /// The format: `mlx` or `candle` for the layout of a safetensors file, `gguf`, or `mlpackage`.
    fn format(&self) -> &'static str;

    /// The device or engine that runs the model, as reports show it.
    fn runs_on(&self) -> String;

    /// The forms of a package's compressed weights; `None` without any.
    fn compression(&self) -> Option<CompressedWeights> {
        None
    }

    /// MLX's quantization that is as precise as the compressed form, whose limits then apply to it; `None` if there is none.
    fn as_precise_as(&self) -> Option<ModelEncoding> {
        None
    }

    /// The values of a linear layer's weight `(out, in)` that a package stores compressed; `None` for any other.
    ///
    /// # Errors
    /// [`VerifyError`] for a weight of another shape.
    fn decompressed(&self, _: &TensorSpec) -> Result<Option<Vec<f32>>> {
        Ok(None)
    }

    /// The numbers that the model computes with.
    fn arithmetic(&self) -> ComputeType;

    /// True if it rounds the factors of its products only, and keeps sums and activations in f32, as the runtime's own engine for
    /// the CPU does.
    fn rounds_factors_only(&self) -> bool {
        false
    }

    /// The weight `(out, in)` of a linear layer as its stored codes stand for it, decoded by the judge itself; `None` if the
    /// model's weights cannot be told apart.
    ///
    /// # Errors
    /// [`VerifyError`] if the model's files cannot be read.
    fn linear_weight(&self, _: &TensorSpec) -> Result<Option<StoredWeight>> {
        Ok(None)
    }

    /// The hidden states that the model returns, ascending.
    fn hidden_states(&self) -> Vec<usize>;

    /// The lengths of clip, in samples, at which the model must be judged; `None` if it accepts any length.
    fn clip_lengths(&self) -> Option<Vec<usize>>;

    /// The encoder's final LayerNorm, for a pre-LN model with readable weights.
    ///
    /// # Errors
    /// [`VerifyError`] if readable weights cannot be read.
    fn encoder_norm(&self) -> Result<Option<EncoderNorm>>;

    /// Runs the model at a length that it accepts and no reference has. Returns a sentence about what was not judged.
    ///
    /// # Errors
    /// [`VerifyError`] if the model does not run at another length that it claims to accept.
    fn check_lengths(&self, judged: &[usize]) -> Result<Option<String>>;

    /// Runs the model on a clip, from the samples up, as an application does.
    ///
    /// # Errors
    /// [`VerifyError`] for an input that the model refuses.
    fn run(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<(Output, HiddenStates)>>;

    /// The model as one whose layers can be run alone; `None` if it only runs as a whole.
    fn isolated(&self) -> Option<&dyn RunIsolated>;
}

/// A candidate whose layers can be run alone.
pub trait RunIsolated {
    /// Runs each layer on the reference's own hidden state below it, so that an error of one layer does not reach the
    /// next. Hidden state 0 is computed from the samples.
    ///
    /// A hidden state whose predecessor the reference lacks, or holds in another width, is left out.
    ///
    /// # Errors
    /// [`VerifyError`] for an input that the model refuses.
    fn run_isolated(&self, input_values: &[f32], reference: ArrayView3<f32>, wanted: &[usize]) -> Result<HiddenStates>;
}

/// Copies a hidden state `(batch, frames, width)` or `(frames, width)` to an array `(batch · frames, width)` in f32.
///
/// # Errors
/// [`VerifyError::Runtime`] if the tensor cannot be read, [`VerifyError::HiddenStateShape`] for a tensor without axes.
pub fn to_array(state: &Tensor) -> Result<Array2<f32>> {
    let width = state.dim(D::Minus1)?;
    let frames = state.elem_count() / width.max(1);
    let values = state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let array = Array2::from_shape_vec((frames, width), values);
    array.map_err(|source| VerifyError::HiddenStateShape { shape: state.dims().to_vec(), source })
}
