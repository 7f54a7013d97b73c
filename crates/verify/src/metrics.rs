//! The distances between a hidden state and its reference. Everything is summed in f64. Nothing here judges: limits are in
//! `tolerance/`, verdicts in `gate/`.

use std::fmt;

use ndarray::{ArrayView2, Axis, Zip};
use serde::Serialize;

/// The distances between one hidden state and its reference, both `(frames, width)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerMetrics {
    /// Cosine similarity of the two means over frames, which is what scripts usually compare.
    pub pooled_cosine: f64,
    /// The lowest cosine similarity of two corresponding frames.
    pub min_frame_cosine: f64,
    /// The index of the frame with the lowest cosine similarity.
    pub worst_frame: usize,
    /// The normalised mean squared error: Σ(candidate − reference)² / Σ reference².
    pub nmse: f64,
    /// The largest absolute difference: max |candidate − reference|.
    pub max_abs_diff: f64,
    /// The largest absolute value of the reference, the scale of `max_abs_diff`.
    pub max_abs_reference: f64,
    /// The number of values of the candidate that are NaN or infinite.
    pub non_finite: usize,
    /// The number of values of the reference that are NaN or infinite.
    pub non_finite_reference: usize,
}

impl LayerMetrics {
    /// The largest difference as a fraction of the largest value: max |candidate − reference| / max |reference|.
    pub(crate) fn relative_max_abs_diff(&self) -> f64 {
        if self.max_abs_diff == 0.0 { 0.0 } else { self.max_abs_diff / self.max_abs_reference }
    }

    /// Compares two hidden states of the same shape; `None` if the shapes differ or are empty.
    pub fn compare(candidate: ArrayView2<f32>, reference: ArrayView2<f32>) -> Option<Self> {
        if candidate.dim() != reference.dim() || candidate.is_empty() {
            return None;
        }
        let (mut error, mut energy) = (0f64, 0f64);
        let (mut max_abs_diff, mut max_abs_reference) = (0f64, 0f64);
        Zip::from(candidate).and(reference).for_each(|&c, &r| {
            let (c, r) = (f64::from(c), f64::from(r));
            error += (c - r).powi(2);
            energy += r * r;
            max_abs_diff = propagating_max(max_abs_diff, (c - r).abs());
            max_abs_reference = propagating_max(max_abs_reference, r.abs());
        });
        let cosines = frame_cosines(candidate, reference);
        // NaN counts as the lowest: a frame that cannot be compared is the worst.
        let (worst_frame, min_frame_cosine) =
            cosines.enumerate().min_by(|(_, a), (_, b)| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)))?;
        Some(LayerMetrics {
            pooled_cosine: cosine(pool(candidate).into_iter(), pool(reference).into_iter()),
            min_frame_cosine,
            worst_frame,
            nmse: if error == 0.0 { 0.0 } else { error / energy },
            max_abs_diff,
            max_abs_reference,
            non_finite: candidate.iter().filter(|value| !value.is_finite()).count(),
            non_finite_reference: reference.iter().filter(|value| !value.is_finite()).count(),
        })
    }
}

/// The cosine similarity of each two corresponding frames of hidden states `(frames, width)` of the same shape.
pub(crate) fn frame_cosines<'a>(
    candidate: ArrayView2<'a, f32>,
    reference: ArrayView2<'a, f32>,
) -> impl Iterator<Item = f64> + 'a {
    let frames = candidate.into_outer_iter().zip(reference.into_outer_iter());
    frames.map(|(c, r)| cosine(c.iter().map(|&v| f64::from(v)), r.iter().map(|&v| f64::from(v))))
}

/// The larger of two numbers, or NaN if one of them is: `f64::max` would drop it, and a check must not.
fn propagating_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The mean over frames, which pools `(frames, width)` to one vector.
fn pool(states: ArrayView2<f32>) -> Vec<f64> {
    let mut sums = vec![0f64; states.ncols()];
    for frame in states.axis_iter(Axis(0)) {
        for (sum, &value) in sums.iter_mut().zip(frame) {
            *sum += f64::from(value);
        }
    }
    let frames = states.nrows() as f64;
    sums.into_iter().map(|sum| sum / frames).collect()
}

/// The cosine similarity a·b / (‖a‖·‖b‖). Two zero vectors agree (1); a zero vector and a non-zero one do not (0).
fn cosine(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> f64 {
    let (mut dot, mut aa, mut bb) = (0f64, 0f64, 0f64);
    for (a, b) in a.zip(b) {
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    match (aa == 0.0, bb == 0.0) {
        (true, true) => 1.0,
        (true, false) | (false, true) => 0.0,
        (false, false) => dot / (aa.sqrt() * bb.sqrt()),
    }
}

/// A cosine similarity, displayed so that its distance from 1 is readable: `0.999400`, or `1 − 3.1e-9`.
pub(crate) struct Cosine(pub(crate) f64);

impl fmt::Display for Cosine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    use ndarray::{Array2, array};

    use super::*;

    fn compare(candidate: &Array2<f32>, reference: &Array2<f32>) -> LayerMetrics {
        LayerMetrics::compare(candidate.view(), reference.view()).unwrap()
    }

    #[test]
    fn equal_states_are_equal() {
        let x = array![[1.0, 2.0], [-3.0, 0.5], [0.0, 0.0]];
        let m = compare(&x, &x);
        approx::assert_abs_diff_eq!(m.pooled_cosine, 1.0, epsilon = 1e-15);
        approx::assert_abs_diff_eq!(m.min_frame_cosine, 1.0, epsilon = 1e-15);
        assert_eq!((m.nmse, m.max_abs_diff, m.non_finite), (0.0, 0.0, 0));
    }

    #[test]
    fn by_hand() {
        let reference = array![[3.0, 4.0], [1.0, 0.0]];
        let candidate = array![[3.0, 4.0], [0.0, 1.0]];
        let m = compare(&candidate, &reference);
        // means (2, 2) and (1.5, 2.5): 8 / (√8 · √8.5)
        approx::assert_abs_diff_eq!(m.pooled_cosine, 8.0 / (8f64.sqrt() * 8.5f64.sqrt()), epsilon = 1e-15);
        assert_eq!((m.min_frame_cosine, m.worst_frame), (0.0, 1));
        approx::assert_abs_diff_eq!(m.nmse, 2.0 / 26.0, epsilon = 1e-15);
        assert_eq!((m.max_abs_diff, m.max_abs_reference), (1.0, 4.0));
        assert_eq!(m.relative_max_abs_diff(), 0.25);
    }

    #[test]
    fn swapped_frames_hide_from_the_pooled_cosine_only() {
        let m = compare(&array![[1.0, 0.0], [0.0, 1.0]], &array![[0.0, 1.0], [1.0, 0.0]]);
        approx::assert_abs_diff_eq!(m.pooled_cosine, 1.0, epsilon = 1e-15);
        assert_eq!(m.min_frame_cosine, 0.0);
        assert_eq!(m.nmse, 2.0);
    }

    #[test]
    fn nan_shows_everywhere() {
        let good = array![[1.0, 2.0], [3.0, 4.0]];
        let bad = array![[1.0, 2.0], [f32::NAN, 4.0]];
        for (candidate, reference) in [(&bad, &good), (&good, &bad)] {
            let m = compare(candidate, reference);
            assert!(m.pooled_cosine.is_nan() && m.min_frame_cosine.is_nan() && m.nmse.is_nan());
            assert!(m.max_abs_diff.is_nan());
            assert_eq!(m.worst_frame, 1);
            assert_eq!(m.non_finite + m.non_finite_reference, 1);
        }
    }

    #[test]
    fn a_zero_candidate_is_wrong() {
        let m = compare(&array![[0.0, 0.0]], &array![[1.0, 1.0]]);
        assert_eq!((m.pooled_cosine, m.min_frame_cosine, m.nmse), (0.0, 0.0, 1.0));
        let m = compare(&array![[1.0, 1.0]], &array![[0.0, 0.0]]);
        assert_eq!(m.nmse, f64::INFINITY);
    }

    #[test]
    fn shapes_must_agree() {
        let (a, b) = (Array2::<f32>::zeros((2, 3)), Array2::<f32>::zeros((3, 3)));
        assert!(LayerMetrics::compare(a.view(), b.view()).is_none());
        let empty = Array2::<f32>::zeros((0, 3));
        assert!(LayerMetrics::compare(empty.view(), empty.view()).is_none());
    }
}
