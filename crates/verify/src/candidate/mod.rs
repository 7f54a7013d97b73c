//! Running the converted model on a reference's input.

mod package;
mod safetensors;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};
use mert_arch::{Dtype, Metadata};
use ndarray::{Array2, ArrayView3, Axis, CowArray, Ix3};
use serde::Serialize;

pub use self::package::{ComputeUnits, Emulation, Package, PackageEngine, is_package};
pub use self::safetensors::{SafetensorsFile, cumulative};
use crate::{ClosingNorm, Options, Result};

/// Hidden states by index, each `(frames, width)`.
pub type HiddenStates = BTreeMap<usize, Array2<f32>>;

/// What a model returns of its hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Every frame.
    Frames,
    /// The mean over frames.
    Pooled,
}

impl Output {
    /// The name that reports show.
    pub const fn name(self) -> &'static str {
        match self {
            Output::Frames => "frames",
            Output::Pooled => "pooled",
        }
    }

    /// What a reference `(hidden states, frames, width)` expects of it; pooled states are `(1, width)` each. Means
    /// are taken in f64.
    pub fn of_reference(self, states: ArrayView3<'_, f32>) -> CowArray<'_, f32, Ix3> {
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

/// A converted model that can be run.
pub trait Candidate {
    /// Where it is.
    fn path(&self) -> &Path;

    /// What it says about itself.
    fn metadata(&self) -> &Metadata;

    /// Its format: `mlx` or `candle` for the layout of a safetensors file, or `mlpackage`.
    fn format(&self) -> &'static str;

    /// Where it runs.
    fn runs_on(&self) -> String;

    /// The element type in which it computes.
    fn arithmetic(&self) -> Dtype;

    /// The hidden states that it returns, ascending.
    fn hidden_states(&self) -> Vec<usize>;

    /// The lengths of clip, in samples, that show what it does; `None` if it takes any.
    fn clip_lengths(&self) -> Option<Vec<usize>>;

    /// The encoder's final LayerNorm, for a pre-LN model with readable weights.
    ///
    /// # Errors
    /// [`VerifyError`](crate::VerifyError) if readable weights cannot be read.
    fn closing_norm(&self) -> Result<Option<ClosingNorm>>;

    /// Looks at lengths of clip that it takes and that no reference had; gives a sentence about what was not judged.
    ///
    /// # Errors
    /// [`VerifyError`](crate::VerifyError) if it cannot run at another length that it says it takes.
    fn check_lengths(&self, judged: &[usize]) -> Result<Option<String>>;

    /// Runs it from the samples up, as a user does.
    ///
    /// # Errors
    /// [`VerifyError`](crate::VerifyError) for an input that it refuses.
    fn run(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<(Output, HiddenStates)>>;

    /// Runs each layer alone, on the reference's own hidden state below it, so that a layer is not blamed for the
    /// ones before it. Hidden state 0 comes from the samples.
    ///
    /// A hidden state whose predecessor the reference lacks, or holds in another width, is left out.
    ///
    /// # Errors
    /// As [`Candidate::run`]; and if it can only be run as a whole.
    fn run_isolated(&self, input_values: &[f32], reference: ArrayView3<f32>, wanted: &[usize]) -> Result<HiddenStates>;
}

/// Opens a converted file, a folder with a `model.safetensors`, or a Core ML package.
///
/// # Errors
/// [`VerifyError`](crate::VerifyError) if it cannot be used, or not with these options.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn Candidate>> {
    if is_package(path) {
        return Ok(Box::new(Package::open(path, options)?));
    }
    Ok(Box::new(SafetensorsFile::open(path, options)?))
}

/// The values of `(1, frames, width)` or `(frames, width)`.
fn to_array(state: &Tensor) -> Result<Array2<f32>> {
    let width = state.dim(candle_core::D::Minus1)?;
    let frames = state.elem_count() / width.max(1);
    let values = state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    // The batch is one clip, so the product of the extents is the number of values.
    Array2::from_shape_vec((frames, width), values)
        .map_err(|e| candle_core::Error::Msg(format!("hidden state of shape {:?}: {e}", state.shape())).into())
}
