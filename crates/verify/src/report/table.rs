use std::fmt::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::{ModelReport, Report};
use crate::gate::{Comparison, Cosine, LayerResult};

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

/// The verdict on a model, in one line.
pub(super) fn verdict(model: &ModelReport) -> String {
    if model.passed() {
        let compared: usize = model.comparisons.iter().map(|comparison| comparison.layers.len()).sum();
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
    for timing in &model.timings {
        writeln!(f, "{} samples in {:.3} s ({})", timing.samples, timing.seconds, timing.reference)?;
    }
    for comparison in &model.comparisons {
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
    for note in &model.notes {
        writeln!(f, "\nnote: {note}")?;
    }
    writeln!(f, "\n{}", verdict(model))
}
