//! Recognition of references of pre-LN models that lack the encoder's final LayerNorm. transformers 5 returns the last of
//! its `hidden_states` before it; transformers 4, MERT's own code and this toolkit after it. Such a reference fails
//! with an NMSE near 0.4, which looks like a broken model.

use ndarray::{Array3, Axis};

use super::layer::{LayerVerdict, judge_layer};
use crate::candidate::{Candidate, HiddenStates, Output};
use crate::metrics::LayerMetrics;
use crate::{Result, Tolerance};

/// The factor by which normalising the reference must reduce the NMSE for the cause to be recognised.
const MIN_IMPROVEMENT: f64 = 10.0;

/// The advice for such a reference.
const ADVICE: &str = "put `last_hidden_state` in the last place of `hidden_states` when you make the reference (the \
                      Python example in docs/verify.md does)";

/// Adds the explanation to the last hidden state's failures if the reference lacks the final LayerNorm of a pre-LN
/// model. The hidden state stays failed, because the reference must be made again.
pub(super) fn explain(
    candidate: &dyn Candidate,
    found: &HiddenStates,
    output: Output,
    reference: &Array3<f32>,
    tolerance: &Tolerance,
    layers: &mut [LayerVerdict],
) -> Result<()> {
    let config = &candidate.metadata().config;
    let last = config.num_hidden_layers;
    let failed = layers.iter_mut().find(|layer| config.do_stable_layer_norm && layer.layer == last && !layer.passed());
    let Some((layer, measured)) = failed.and_then(|layer| layer.metrics.map(|measured| (layer, measured))) else {
        return Ok(());
    };
    let Some(normalised) = candidate.encoder_norm()?.and_then(|norm| norm.apply(reference.index_axis(Axis(0), last)))
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
fn reason(measured: &LayerMetrics, again: &LayerVerdict) -> Option<String> {
    let nmse = again.metrics.as_ref()?.nmse;
    let comparison = match (again.passed(), nmse * MIN_IMPROVEMENT < measured.nmse) {
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
    use super::*;

    #[test]
    fn only_a_large_improvement_is_explained() {
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
        let again = |nmse, failures: &[&str]| LayerVerdict {
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
