use std::fmt::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::{ModelReport, Report, Worst};
use crate::gate::{Comparison, Cosine, LayerResult};

/// More clips than this are added up.
const MOST_TIMINGS: usize = 8;

/// The columns, in every format.
pub(super) const COLUMNS: [&str; 6] =
    ["hidden state", "pooled cosine", "lowest frame cosine", "NMSE", "max |Δ|", "verdict"];

/// One row of a comparison, in every format.
pub(super) fn row(layer: &LayerResult) -> [String; 6] {
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

/// What was compared with what, in one line.
pub(super) fn headline(comparison: &Comparison) -> String {
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

/// The worst clip of a question, in one line.
pub(super) fn worst(worst: &Worst) -> String {
    let Worst { question, output, clips, reference, hidden_state, nmse, min_frame_cosine, passed } = worst;
    let measured = match (nmse, min_frame_cosine) {
        (Some(nmse), Some(cosine)) => format!("NMSE {nmse:.1e}, lowest frame cosine {}", Cosine(*cosine)),
        _ => "not measured".to_string(),
    };
    let (question, output, verdict) = (question.name(), output.name(), if *passed { "ok" } else { "FAIL" });
    format!(
        "worst of {clips} clips ({question}, {output}): hidden state {hidden_state} against {reference}: {measured}, {verdict}"
    )
}

/// The verdict on a model, in one line.
pub(super) fn verdict(model: &ModelReport) -> String {
    let compared: usize = model.comparisons.iter().map(|comparison| comparison.layers.len()).sum();
    if !model.failed() && !model.errors.is_empty() {
        return format!(
            "NOT COMPLETELY CHECKED: {compared} hidden states compared, all within tolerance, but not everything could \
             be compared"
        );
    }
    if model.passed() {
        let how_far =
            if model.structure_judged() { "" } else { ", but ONLY THE ROUNDING was judged, not the structure" };
        return format!("PASSED: {compared} hidden states compared, all within tolerance{how_far}");
    }
    let mut text = "FAILED".to_string();
    if let Some(layer) = model.first_bad_layer() {
        text += &match layer {
            0 => ": the first bad one is hidden state 0 (before layer 1: feature extractor, projection, positional \
                  convolution)"
                .to_string(),
            layer => format!(": the first bad one is hidden state {layer} (the output of layer {layer})"),
        };
        // A package runs from the samples up only.
        if model.format != "mlpackage" && model.comparisons.iter().any(|c| !c.isolated) {
            text += "; --isolate judges each layer alone";
        }
    }
    for failure in &model.failures {
        text += &format!("\n{failure}");
    }
    text
}

/// The table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for model in &self.models {
            write_model(f, model)?;
        }
        for error in &self.errors {
            writeln!(f, "{}\n\nCOULD NOT BE CHECKED: {}", error.model.display(), error.error)?;
        }
        if self.models.is_empty() && self.errors.is_empty() {
            f.write_str("FAILED: nothing was compared\n")?;
        }
        Ok(())
    }
}

fn write_model(f: &mut impl Write, model: &ModelReport) -> fmt::Result {
    let ModelReport { format, dtype, device, compute, .. } = model;
    writeln!(f, "{} ({format} format, {dtype} weights), {compute} arithmetic on {device}", model.model.display())?;
    if model.timings.len() <= MOST_TIMINGS {
        for timing in &model.timings {
            writeln!(f, "{} samples in {:.3} s ({})", timing.samples, timing.seconds, timing.reference)?;
        }
    } else {
        let (samples, seconds) =
            model.timings.iter().fold((0, 0.0), |(n, s), timing| (n + timing.samples, s + timing.seconds));
        writeln!(f, "{samples} samples of {} clips in {seconds:.3} s", model.timings.len())?;
    }
    // Of many clips, what failed and what is worst are shown; JSON and Markdown have all.
    const MOST_TABLES: usize = 8;
    let is_worst = |c: &Comparison| {
        model.worst.iter().any(|w| (&w.reference, w.question, w.output) == (&c.reference, c.question, c.output))
    };
    let show_all = model.comparisons.len() <= MOST_TABLES;
    let (shown, passed_over): (Vec<_>, Vec<_>) =
        model.comparisons.iter().partition(|c| show_all || !c.passed() || is_worst(c));
    if !passed_over.is_empty() {
        writeln!(f, "\n{} comparisons passed and are not shown (--json and --markdown have them)", passed_over.len())?;
    }
    for comparison in shown {
        writeln!(f, "\n{}", headline(comparison))?;
        if let Some(reason) = &comparison.tolerance.below_floor {
            writeln!(f, "A FLOOR IS LOWERED: {reason}")?;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(COLUMNS);
        for layer in &comparison.layers {
            let mut cells = row(layer);
            if !layer.passed() {
                // The reasons are sentences; they stand below, where they do not stretch the table.
                cells[COLUMNS.len() - 1] = "FAIL".into();
            }
            table.add_row(cells);
        }
        for column in table.column_iter_mut().take(COLUMNS.len() - 1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        for layer in comparison.layers.iter().filter(|layer| !layer.passed()) {
            writeln!(f, " hidden state {}: {}", layer.layer, layer.failures.join("; "))?;
        }
    }
    for line in &model.worst {
        writeln!(f, "\n{}", worst(line))?;
    }
    for note in &model.notes {
        writeln!(f, "\nnote: {note}")?;
    }
    writeln!(f, "\n{}", verdict(model))
}
