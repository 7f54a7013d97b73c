//! A verdict in lines of text, the same in every human-readable format: the headline and rows of a comparison, the worst
//! hidden state, the verdict on a model.

use crate::gate::{Comparison, LayerVerdict, ModelVerdict, Outcome, WorstState};
use crate::metrics::Cosine;

/// The column headers of a comparison's table.
pub const COLUMNS: [&str; 6] = ["hidden state", "pooled cosine", "lowest frame cosine", "NMSE", "max |Δ|", "verdict"];

/// The cells of a hidden state, for [`COLUMNS`].
pub fn row(layer: &LayerVerdict) -> [String; 6] {
    let verdict = if layer.passed() { "ok".to_string() } else { format!("FAIL: {}", layer.failures.join("; ")) };
    let [pooled, frame, nmse, max] = match &layer.metrics {
        None => ["–", "–", "–", "–"].map(String::from),
        Some(m) => [
            Cosine(m.pooled_cosine).to_string(),
            Cosine(m.min_frame_cosine).to_string(),
            format!("{:.1e}", m.nmse),
            format!("{:.1e}", m.max_abs_diff),
        ],
    };
    [layer.layer.to_string(), pooled, frame, nmse, max, verdict]
}

/// The line above a comparison's table: the question, the reference and the tolerance.
pub fn headline(comparison: &Comparison) -> String {
    let weights = format!("its weights in {}", comparison.reference_weights);
    let isolated = if comparison.isolated { ", each layer alone" } else { "" };
    let limits = &comparison.tolerance.limits;
    format!(
        "{}, {}: against {} ({weights}{isolated}); tolerance \"{}\": pooled cosine > {}, frame cosine ≥ {}, NMSE ≤ {:e}, \
         max |Δ| ≤ {:e} of the largest value",
        comparison.question.name(),
        comparison.output.name(),
        comparison.reference,
        comparison.tolerance.name,
        Cosine(limits.pooled_cosine),
        Cosine(limits.frame_cosine),
        limits.nmse,
        limits.max_abs_diff,
    )
}

/// The line about the worst hidden state of a question.
pub fn worst_line(worst: &WorstState) -> String {
    let WorstState { question, output, clips, reference, hidden_state, nmse, min_frame_cosine, passed } = worst;
    let measured = match (nmse, min_frame_cosine) {
        (Some(nmse), Some(cosine)) => format!("NMSE {nmse:.1e}, lowest frame cosine {}", Cosine(*cosine)),
        _ => "not measured".to_string(),
    };
    let (question, output, verdict) = (question.name(), output.name(), if *passed { "ok" } else { "FAIL" });
    format!(
        "worst of {clips} clips ({question}, {output}): hidden state {hidden_state} against {reference}: {measured}, \
         {verdict}"
    )
}

/// The verdict on a model: one line, and one for each reason why it failed as a whole.
pub fn verdict_lines(model: &ModelVerdict) -> String {
    let compared: usize = model.comparisons.iter().map(|comparison| comparison.layers.len()).sum();
    match model.outcome() {
        Outcome::Incomplete => format!(
            "NOT COMPLETELY CHECKED: {compared} hidden states compared, all within tolerance, but not everything could \
             be compared"
        ),
        Outcome::Passed if model.structure_judged() => {
            format!("PASSED: {compared} hidden states compared, all within tolerance")
        }
        Outcome::Passed => format!(
            "PASSED: {compared} hidden states compared, all within tolerance, but ONLY THE ROUNDING was judged, not the \
             structure"
        ),
        Outcome::Failed => failed_lines(model),
    }
}

/// A hidden state with its place in the network.
pub(crate) fn place_in_network(layer: usize) -> String {
    match layer {
        0 => "0 (before layer 1: feature extractor, projection, positional convolution)".into(),
        layer => format!("{layer} (the output of layer {layer})"),
    }
}

fn failed_lines(model: &ModelVerdict) -> String {
    let mut text = "FAILED".to_string();
    if let Some(layer) = model.first_bad_layer() {
        text += &format!(": the first bad one is hidden state {}", place_in_network(layer));
        // The layers of a package cannot be run alone.
        if model.format != "mlpackage" && model.comparisons.iter().any(|c| !c.isolated) {
            text += "; --isolate judges each layer alone";
        }
    }
    for failure in &model.failures {
        text += &format!("\n{failure}");
    }
    text
}
