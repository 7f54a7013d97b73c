//! The comparison of a model in bf16 or int8 with itself in f32: the same weights, the same clip, every hidden state.

use std::collections::BTreeMap;

use mert_arch::ComputeType;
use mert_runtime::{Model, Workspace};
use ndarray::Array2;
use serde::Serialize;

use crate::gate::{LayerVerdict, judge_layer};
use crate::metrics::LayerMetrics;
use crate::{Limits, Result, Tolerance, VerifyError};

/// The comparison of a model's hidden states in one arithmetic with those in f32.
#[derive(Debug, Clone, Serialize)]
pub struct ArithmeticVerdict {
    /// The arithmetic.
    pub compute: ComputeType,
    /// The limits that apply to each hidden state.
    pub limits: Limits,
    /// The verdict on each hidden state.
    pub layers: Vec<LayerVerdict>,
}

impl ArithmeticVerdict {
    /// Compares every hidden state of `model` for `clip`, exactly as it enters the model, with that of `reference`, which
    /// computes in f32, under the tolerance of the model's arithmetic.
    ///
    /// # Errors
    /// [`VerifyError::Runtime`] for a clip that the models do not take.
    pub fn of(model: &Model, reference: &Model, clip: &[f32]) -> Result<Self> {
        let compute = model.compute_type();
        let on_cpu = model.rounds_factors_only().then(|| Tolerance::rounded_factors(compute)).flatten();
        let tolerance = on_cpu.unwrap_or_else(|| Tolerance::compute(compute));
        ArithmeticVerdict::under(&tolerance, model, reference, clip)
    }

    /// The comparison under the limits that `--fast` promises: a pooled cosine above 0.999, which the gate demands of every
    /// conversion, and no frame below 0.99.
    ///
    /// # Errors
    /// Those of [`ArithmeticVerdict::of`].
    pub fn for_embeddings(model: &Model, reference: &Model, clip: &[f32]) -> Result<Self> {
        let limits = Limits { pooled_cosine: 0.999, frame_cosine: 0.99, nmse: 0.02, max_abs_diff: 1.0 };
        ArithmeticVerdict::under(&Tolerance::named("embeddings", limits), model, reference, clip)
    }

    fn under(tolerance: &Tolerance, model: &Model, reference: &Model, clip: &[f32]) -> Result<Self> {
        let (candidate, expected) = (states(model, clip)?, states(reference, clip)?);
        let judge = |(&layer, expected): (&usize, &Array2<f32>)| {
            judge_layer(layer, candidate.get(&layer), Some(expected.view()), tolerance)
        };
        let layers = expected.iter().map(judge).collect();
        Ok(ArithmeticVerdict { compute: model.compute_type(), limits: tolerance.limits, layers })
    }

    /// True if every hidden state is within the limits.
    pub fn passed(&self) -> bool {
        !self.layers.is_empty() && self.layers.iter().all(LayerVerdict::passed)
    }

    /// The lowest pooled cosine of a hidden state; NaN if one could not be compared.
    pub fn pooled_cosine(&self) -> f64 {
        self.lowest(|metrics| metrics.pooled_cosine)
    }

    /// The lowest cosine of a frame; NaN if a hidden state could not be compared.
    pub fn frame_cosine(&self) -> f64 {
        self.lowest(|metrics| metrics.min_frame_cosine)
    }

    /// The highest NMSE of a hidden state; NaN if one could not be compared.
    pub fn nmse(&self) -> f64 {
        -self.lowest(|metrics| -metrics.nmse)
    }

    /// The first failure, with its hidden state.
    pub fn failure(&self) -> Option<String> {
        let failed = self.layers.iter().find(|layer| !layer.passed())?;
        Some(format!("hidden state {}: {}", failed.layer, failed.failures.join(", ")))
    }

    fn lowest(&self, of: impl Fn(&LayerMetrics) -> f64) -> f64 {
        let values = self.layers.iter().map(|layer| layer.metrics.as_ref().map_or(f64::NAN, &of));
        values.min_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b))).unwrap_or(f64::NAN)
    }
}

fn states(model: &Model, clip: &[f32]) -> Result<BTreeMap<usize, Array2<f32>>> {
    let all: Vec<usize> = (0..model.config().num_hidden_states()).collect();
    let width = model.config().hidden_size;
    let mut states = BTreeMap::new();
    model
        .hidden_states_in(&mut Workspace::default(), clip, &all, |index, state| {
            // A width that does not divide the state leaves a state without frames, which fails.
            let rows = Array2::from_shape_vec((state.len() / width, width), state.to_vec()).unwrap_or_default();
            states.insert(index, rows);
        })
        .map_err(VerifyError::from)?;
    Ok(states)
}
