//! Detection of references of pre-LN models that lack the encoder's final LayerNorm. transformers 5 returns the last of
//! its `hidden_states` before it; transformers 4, MERT's own code and this toolkit after it. Such a reference fails
//! with an NMSE near 0.4, which looks like a broken model.

use ndarray::{Array2, Array3, ArrayView2, Axis};

use crate::candidate::{Candidate, HiddenStates, Output};
use crate::gate::{LayerResult, judge_layer};
use crate::metrics::LayerMetrics;
use crate::{Result, Tolerance};

/// The encoder's final LayerNorm in a pre-LN model.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosingNorm {
    /// Gain per channel.
    pub gain: Vec<f32>,
    /// Bias per channel.
    pub bias: Vec<f32>,
    /// Epsilon added to the variance.
    pub eps: f64,
}

/// The factor by which normalising the reference must reduce the NMSE to identify the problem.
const NEARER: f64 = 10.0;

/// Advice for such a reference.
const ADVICE: &str = "put `last_hidden_state` in the last place of `hidden_states` when you make the reference (the \
                    README's Python example does)";

impl ClosingNorm {
    /// Applies the LayerNorm to frames `(frames, width)` in f64: gain · (x − μ) / √(σ² + eps) + bias over the width.
    /// `None` for another width.
    pub fn apply(&self, frames: ArrayView2<f32>) -> Option<Array2<f32>> {
        let width = frames.ncols();
        if width == 0 || self.gain.len() != width || self.bias.len() != width {
            return None;
        }
        let mut normalised = frames.to_owned();
        for mut frame in normalised.axis_iter_mut(Axis(0)) {
            let mean = frame.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let variance = frame.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + self.eps).sqrt();
            for ((x, &gain), &bias) in frame.iter_mut().zip(&self.gain).zip(&self.bias) {
                *x = ((f64::from(*x) - mean) * scale * f64::from(gain) + f64::from(bias)) as f32;
            }
        }
        Some(normalised)
    }
}

/// Adds the explanation to the last hidden state's failures if the reference lacks the final LayerNorm of a pre-LN
/// model. The state stays failed, because the reference must be made again.
pub(crate) fn explain(
    candidate: &dyn Candidate,
    found: &HiddenStates,
    output: Output,
    reference: &Array3<f32>,
    tolerance: &Tolerance,
    layers: &mut [LayerResult],
) -> Result<()> {
    let config = &candidate.metadata().config;
    let last = config.num_hidden_layers;
    let failed = layers.iter_mut().find(|layer| config.do_stable_layer_norm && layer.layer == last && !layer.passed());
    let Some((layer, measured)) = failed.and_then(|layer| layer.metrics.map(|measured| (layer, measured))) else {
        return Ok(());
    };
    let Some(normalised) = candidate.closing_norm()?.and_then(|norm| norm.apply(reference.index_axis(Axis(0), last)))
    else {
        return Ok(());
    };
    let normalised = normalised.insert_axis(Axis(0));
    let expected = output.of_reference(normalised.view());
    let again = judge_layer(last, found.get(&last), Some(expected.index_axis(Axis(0), 0)), tolerance);
    layer.failures.splice(0..0, reason(&measured, &again));
    Ok(())
}

/// The explanation, if normalising the reference makes it match the model's output.
fn reason(measured: &LayerMetrics, again: &LayerResult) -> Option<String> {
    let nmse = again.metrics.as_ref()?.nmse;
    let comparison = match (again.passed(), nmse * NEARER < measured.nmse) {
        (true, _) => format!("it agrees with the model (NMSE {nmse:.1e})"),
        (false, true) => format!("its NMSE is {nmse:.1e} instead of {:.1e}", measured.nmse),
        (false, false) => return None,
    };
    Some(format!(
        "the reference's last hidden state lacks the encoder's final LayerNorm, as transformers 5 returns it for pre-LN \
         models: with that LayerNorm applied {comparison}; {ADVICE}"
    ))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_frame_normalised_by_hand() {
        let norm = ClosingNorm { gain: vec![2.0, 1.0, 1.0, 0.5], bias: vec![0.0, 1.0, 0.0, 0.0], eps: 0.0 };
        // Mean 3, variance 5.
        let (frame, root) = (array![[0.0, 2.0, 4.0, 6.0]], 5f32.sqrt());
        let expected = array![[-6.0 / root, 1.0 - 1.0 / root, 1.0 / root, 1.5 / root]];
        let found = norm.apply(frame.view()).unwrap();
        assert!((found - expected).iter().all(|difference| difference.abs() < 1e-6));
        assert_eq!(norm.apply(array![[1.0, 2.0]].view()), None);
    }

    #[test]
    fn only_what_comes_much_nearer_is_explained() {
        let metrics = |nmse| LayerMetrics {
            pooled_cosine: 1.0,
            min_frame_cosine: 1.0,
            worst_frame: 0,
            nmse,
            max_abs_diff: 0.0,
            max_abs_reference: 1.0,
            non_finite: 0,
            non_finite_reference: 0,
        };
        let again = |nmse, failures: &[&str]| LayerResult {
            layer: 2,
            metrics: Some(metrics(nmse)),
            failures: failures.iter().map(ToString::to_string).collect(),
        };
        assert!(reason(&metrics(0.4), &again(1e-12, &[])).unwrap().contains("agrees with the model"));
        assert!(reason(&metrics(0.4), &again(1e-3, &["far"])).unwrap().contains("1.0e-3 instead of 4.0e-1"));
        assert_eq!(reason(&metrics(0.4), &again(0.1, &["far"])), None);
        assert_eq!(reason(&metrics(f64::NAN), &again(f64::NAN, &["NaN"])), None);
    }
}
