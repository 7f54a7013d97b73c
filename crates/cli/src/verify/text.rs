//! The report on the terminal: a table for each comparison, and the verdict below.

use comfy_table::{CellAlignment, Table, presets};
use mert_verify::gate::{Comparison, ForwardTime, ModelVerdict, Verdict};
use mert_verify::report::summary::{COLUMNS, headline, row, verdict_lines, worst_line};

/// The number of clips up to which each has a line with its duration; the durations of more are summed.
const MAX_TIMINGS: usize = 8;

/// The number of comparisons up to which each has a table. Of more, those that failed and the worst ones have one; JSON
/// and Markdown have all.
const MAX_TABLES: usize = 8;

/// Renders a verdict for the terminal.
pub(crate) fn render(verdict: &Verdict) -> String {
    let mut text: String = verdict.models.iter().map(model).collect();
    for error in &verdict.errors {
        text += &format!("{}\n\nCOULD NOT BE CHECKED: {}\n", error.model.display(), error.error);
    }
    if verdict.models.is_empty() && verdict.errors.is_empty() {
        text += "FAILED: nothing was compared\n";
    }
    text
}

fn model(model: &ModelVerdict) -> String {
    let ModelVerdict { format, encoding, device, compute, .. } = model;
    let mut text =
        format!("{} ({format} format, {encoding} weights), {compute} arithmetic on {device}\n", model.model.display());
    text += &timings(model);
    let is_worst = |c: &Comparison| {
        model.worst.iter().any(|w| (&w.reference, w.question, w.output) == (&c.reference, c.question, c.output))
    };
    let show_all = model.comparisons.len() <= MAX_TABLES;
    let (tables, others): (Vec<_>, Vec<_>) =
        model.comparisons.iter().partition(|c| show_all || !c.passed() || is_worst(c));
    if !others.is_empty() {
        text += &format!(
            "\n{} comparisons passed and are not shown (--json, --markdown and --html have them)\n",
            others.len()
        );
    }
    text.extend(tables.into_iter().map(comparison));
    for worst in &model.worst {
        text += &format!("\n{}\n", worst_line(worst));
    }
    for note in &model.notes {
        text += &format!("\nnote: {note}\n");
    }
    text + &format!("\n{}\n", verdict_lines(model))
}

fn timings(model: &ModelVerdict) -> String {
    if model.timings.len() > MAX_TIMINGS {
        let samples: usize = model.timings.iter().map(|time| time.samples).sum();
        let seconds: f64 = model.timings.iter().map(|time| time.seconds).sum();
        return format!("{samples} samples of {} clips in {seconds:.3} s\n", model.timings.len());
    }
    let line = |time: &ForwardTime| format!("{} samples in {:.3} s ({})\n", time.samples, time.seconds, time.reference);
    model.timings.iter().map(line).collect()
}

fn comparison(comparison: &Comparison) -> String {
    let mut text = format!("\n{}\n", headline(comparison));
    if let Some(reason) = &comparison.tolerance.below_floor {
        text += &format!("A FLOOR IS LOWERED: {reason}\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    for layer in &comparison.layers {
        let mut cells = row(layer);
        if !layer.passed() {
            // The reasons are sentences, which would stretch the table; they are listed below.
            cells[COLUMNS.len() - 1] = "FAIL".into();
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().take(COLUMNS.len() - 1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    text += &format!("{}\n", table.trim_fmt());
    for layer in comparison.layers.iter().filter(|layer| !layer.passed()) {
        text += &format!(" hidden state {}: {}\n", layer.layer, layer.failures.join("; "));
    }
    text
}
