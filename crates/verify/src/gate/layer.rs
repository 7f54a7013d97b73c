//! The verdict on one hidden state, under a tolerance.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use serde::Serialize;

use crate::Tolerance;
use crate::metrics::{Cosine, LayerMetrics};

/// The verdict on one hidden state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerVerdict {
    /// The index of the hidden state: 0 enters the first layer, i is the output of layer i.
    pub layer: usize,
    /// The distances from the reference; `None` if the two could not be compared.
    pub metrics: Option<LayerMetrics>,
    /// The reasons why the hidden state failed; empty if it passed.
    pub failures: Vec<String>,
}

impl LayerVerdict {
    /// Whether the hidden state was compared and is within the tolerance.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.metrics.is_some()
    }

    fn not_comparable(layer: usize, reason: String) -> Self {
        LayerVerdict { layer, metrics: None, failures: vec![reason] }
    }
}

/// Judges the hidden states `wanted` of a candidate against a reference of shape
/// `(hidden states, frames, width)`.
pub(super) fn judge(
    candidate: &BTreeMap<usize, Array2<f32>>,
    reference: ArrayView3<f32>,
    wanted: &[usize],
    tolerance: &Tolerance,
) -> Vec<LayerVerdict> {
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
) -> LayerVerdict {
    let Some(reference) = reference else {
        return LayerVerdict::not_comparable(layer, format!("the reference has no hidden state {layer}"));
    };
    let Some(candidate) = candidate else {
        return LayerVerdict::not_comparable(layer, format!("the model returned no hidden state {layer}"));
    };
    let ((frames, width), (expected_frames, expected_width)) = (candidate.dim(), reference.dim());
    if frames != expected_frames {
        return LayerVerdict::not_comparable(layer, format!("{frames} frames, the reference has {expected_frames}"));
    }
    if width != expected_width {
        return LayerVerdict::not_comparable(layer, format!("width {width}, the reference has {expected_width}"));
    }
    match LayerMetrics::compare(candidate.view(), reference) {
        None => LayerVerdict::not_comparable(layer, "there are no values to compare".into()),
        Some(metrics) => LayerVerdict { layer, failures: failures(&metrics, tolerance), metrics: Some(metrics) },
    }
}

/// Lists the limits that a layer misses. Every condition is written so that a NaN misses it.
fn failures(metrics: &LayerMetrics, tolerance: &Tolerance) -> Vec<String> {
    let limits = &tolerance.limits;
    let mut failures = Vec::new();
    if metrics.non_finite > 0 {
        failures.push(format!("{} values are NaN or infinite", metrics.non_finite));
    }
    if metrics.non_finite_reference > 0 {
        failures.push(format!("{} values of the reference are NaN or infinite", metrics.non_finite_reference));
    }
    let mut require = |satisfied: bool, failure: String| {
        if !satisfied {
            failures.push(failure);
        }
    };
    let (pooled, frame) = (metrics.pooled_cosine, metrics.min_frame_cosine);
    require(
        pooled > limits.pooled_cosine,
        format!("pooled cosine {} is not above {}", Cosine(pooled), Cosine(limits.pooled_cosine)),
    );
    require(
        frame >= limits.frame_cosine,
        format!("frame {} has cosine {}, below {}", metrics.worst_frame, Cosine(frame), Cosine(limits.frame_cosine)),
    );
    require(metrics.nmse <= limits.nmse, format!("NMSE {:.1e} is above {:.1e}", metrics.nmse, limits.nmse));
    let relative = metrics.relative_max_abs_diff();
    require(
        relative <= limits.max_abs_diff,
        format!("max |Δ| is {relative:.1e} of the largest value, above {:.1e}", limits.max_abs_diff),
    );
    failures
}

#[cfg(test)]
mod tests {
    use mert_arch::Dtype;
    use ndarray::array;

    use super::*;

    fn verdict(candidate: Option<Array2<f32>>, reference: Option<Array2<f32>>) -> LayerVerdict {
        judge_layer(3, candidate.as_ref(), reference.as_ref().map(|r| r.view()), &Tolerance::structure())
    }

    #[test]
    fn states_that_cannot_be_compared_fail() {
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
}
