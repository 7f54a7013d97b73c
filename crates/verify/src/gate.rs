//! The verdict on each layer, under a tolerance.

use std::collections::BTreeMap;

use mert_arch::Dtype;
use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use serde::Serialize;

use crate::Tolerance;
use crate::candidate::Output;
use crate::metrics::LayerMetrics;

/// What a comparison finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Is it the same function? Both sides have the same weights and compute in f32.
    Structure,
    /// How much did rounding cost? The reference has the original f32 weights.
    Rounding,
}

impl Question {
    /// The name that reports show.
    pub const fn name(self) -> &'static str {
        match self {
            Question::Structure => "structure",
            Question::Rounding => "rounding",
        }
    }
}

/// The verdict on one hidden state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerResult {
    /// Hidden state `layer`: 0 enters the first layer, i is the output of layer i.
    pub layer: usize,
    /// What was measured; `None` if nothing could be.
    pub metrics: Option<LayerMetrics>,
    /// Why it failed; empty if it passed.
    pub failures: Vec<String>,
}

impl LayerResult {
    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.metrics.is_some()
    }
}

/// One candidate against one reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The reference's name.
    pub reference: String,
    /// What is asked.
    pub question: Question,
    /// What was compared.
    pub output: Output,
    /// The element type to which the reference's weights were rounded.
    pub reference_weights: Dtype,
    /// Whether each layer was fed the reference's own input instead of the candidate's.
    pub isolated: bool,
    /// What had to be satisfied.
    pub tolerance: Tolerance,
    /// One for each hidden state asked for.
    pub layers: Vec<LayerResult>,
}

impl Comparison {
    /// Whether every hidden state passed; `false` if there is none.
    pub fn passed(&self) -> bool {
        !self.layers.is_empty() && self.layers.iter().all(LayerResult::passed)
    }

    /// The first hidden state that failed.
    pub fn first_bad_layer(&self) -> Option<usize> {
        self.layers.iter().find(|layer| !layer.passed()).map(|layer| layer.layer)
    }
}

/// Judges the hidden states `wanted` of a candidate against a reference of shape
/// `(hidden states, frames, width)`.
pub fn judge(
    candidate: &BTreeMap<usize, Array2<f32>>,
    reference: ArrayView3<f32>,
    wanted: &[usize],
    tolerance: &Tolerance,
) -> Vec<LayerResult> {
    let judge_one = |&layer: &usize| {
        let reference = (layer < reference.len_of(Axis(0))).then(|| reference.index_axis(Axis(0), layer));
        judge_layer(layer, candidate.get(&layer), reference, tolerance)
    };
    wanted.iter().map(judge_one).collect()
}

/// Judges hidden state `layer`; a missing one fails.
pub(crate) fn judge_layer(
    layer: usize,
    candidate: Option<&Array2<f32>>,
    reference: Option<ArrayView2<f32>>,
    tolerance: &Tolerance,
) -> LayerResult {
    let failed = |reason: String| LayerResult { layer, metrics: None, failures: vec![reason] };
    let Some(reference) = reference else {
        return failed(format!("the reference has no hidden state {layer}"));
    };
    let Some(candidate) = candidate else {
        return failed(format!("the model returned no hidden state {layer}"));
    };
    let ((frames, width), (expected_frames, expected_width)) = (candidate.dim(), reference.dim());
    if frames != expected_frames {
        return failed(format!("{frames} frames, the reference has {expected_frames}"));
    }
    if width != expected_width {
        return failed(format!("width {width}, the reference has {expected_width}"));
    }
    match LayerMetrics::compare(candidate.view(), reference) {
        None => failed("there are no values to compare".into()),
        Some(metrics) => LayerResult { layer, failures: failures(&metrics, tolerance), metrics: Some(metrics) },
    }
}

/// Every comparison is written so that a NaN fails it.
fn failures(metrics: &LayerMetrics, tolerance: &Tolerance) -> Vec<String> {
    let limits = &tolerance.limits;
    let mut failures = Vec::new();
    if metrics.non_finite > 0 {
        failures.push(format!("{} values are NaN or infinite", metrics.non_finite));
    }
    if metrics.non_finite_reference > 0 {
        failures.push(format!("{} values of the reference are NaN or infinite", metrics.non_finite_reference));
    }
    let mut demand = |satisfied: bool, failure: String| {
        if !satisfied {
            failures.push(failure);
        }
    };
    let (pooled, frame) = (metrics.pooled_cosine, metrics.min_frame_cosine);
    demand(
        pooled > limits.pooled_cosine,
        format!("pooled cosine {} is not above {}", Cosine(pooled), Cosine(limits.pooled_cosine)),
    );
    demand(
        frame >= limits.frame_cosine,
        format!("frame {} has cosine {}, below {}", metrics.worst_frame, Cosine(frame), Cosine(limits.frame_cosine)),
    );
    demand(metrics.nmse <= limits.nmse, format!("NMSE {:.1e} is above {:.1e}", metrics.nmse, limits.nmse));
    let relative = metrics.relative_max_abs_diff();
    demand(
        relative <= limits.max_abs_diff,
        format!("max |Δ| is {relative:.1e} of the largest value, above {:.1e}", limits.max_abs_diff),
    );
    failures
}

/// Shows a cosine so that what is left to 1 can be read: `0.9994`, or `1 − 3.1e-9`.
pub(crate) struct Cosine(pub(crate) f64);

impl std::fmt::Display for Cosine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rest = 1.0 - self.0;
        if rest.abs() < 1e-15 {
            f.pad("1")
        } else if rest > 0.0 && rest < 1e-4 {
            f.pad(&format!("1 − {rest:.1e}"))
        } else {
            f.pad(&format!("{:.6}", self.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn verdict(candidate: Option<Array2<f32>>, reference: Option<Array2<f32>>) -> LayerResult {
        judge_layer(3, candidate.as_ref(), reference.as_ref().map(|r| r.view()), &Tolerance::structure())
    }

    #[test]
    fn what_cannot_be_compared_fails() {
        let x = || Some(array![[1.0, 2.0], [3.0, 4.0]]);
        assert!(verdict(x(), x()).passed());
        for (candidate, reference, word) in [
            (None, x(), "returned no hidden state 3"),
            (x(), None, "reference has no hidden state 3"),
            (Some(array![[1.0, 2.0]]), x(), "1 frames"),
            (Some(array![[1.0], [2.0]]), x(), "width 1"),
            (Some(array![[f32::NAN, 2.0], [3.0, 4.0]]), x(), "NaN"),
            (x(), Some(array![[f32::INFINITY, 2.0], [3.0, 4.0]]), "of the reference are NaN"),
            (Some(Array2::zeros((0, 2))), Some(Array2::zeros((0, 2))), "no values"),
        ] {
            let result = verdict(candidate, reference);
            assert!(!result.passed());
            assert!(result.failures.iter().any(|f| f.contains(word)), "{word}: {:?}", result.failures);
        }
    }

    #[test]
    fn all_nan_on_both_sides_fails() {
        let nan = || Some(Array2::from_elem((2, 2), f32::NAN));
        let result = verdict(nan(), nan());
        assert_eq!(result.failures.len(), 6, "{:?}", result.failures);
    }

    #[test]
    fn each_limit_can_fail_alone() {
        let metrics = LayerMetrics {
            pooled_cosine: 1.0,
            min_frame_cosine: 1.0,
            worst_frame: 0,
            nmse: 0.0,
            max_abs_diff: 0.0,
            max_abs_reference: 1.0,
            non_finite: 0,
            non_finite_reference: 0,
        };
        let tolerance = Tolerance::rounding(Dtype::F16);
        assert!(failures(&metrics, &tolerance).is_empty());
        for bad in [
            LayerMetrics { pooled_cosine: tolerance.limits.pooled_cosine, ..metrics },
            LayerMetrics { min_frame_cosine: 0.9, ..metrics },
            LayerMetrics { nmse: 1e-4, ..metrics },
            LayerMetrics { max_abs_diff: 0.5, ..metrics },
            LayerMetrics { nmse: f64::NAN, ..metrics },
        ] {
            assert_eq!(failures(&bad, &tolerance).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn nothing_compared_is_no_pass() {
        let comparison = Comparison {
            reference: "r".into(),
            question: Question::Structure,
            output: Output::Frames,
            reference_weights: Dtype::F32,
            isolated: false,
            tolerance: Tolerance::structure(),
            layers: Vec::new(),
        };
        assert!(!comparison.passed());
    }
}
