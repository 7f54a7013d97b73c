//! `mert-search probe`: how well a tag or a number is predicted from each hidden state.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use mert_cli::terminal::{Exit, print, progress_bar};
use mert_search::probe::{ProbeOptions, ProbeReport, keep, probe};

use crate::open::open_catalogue;

/// The options of `mert-search probe`.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The column to predict: texts such as genre, or numbers such as bpm
    #[arg(long, value_name = "COLUMN")]
    tag: String,
    /// The folds of artists
    #[arg(long, value_name = "N", default_value_t = 5)]
    folds: usize,
    /// The most tracks; of more, so many are drawn
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tracks: usize,
    /// The seed of everything that is drawn at random
    #[arg(long, default_value_t = 15)]
    seed: u64,
    /// Print the figures and the predictions as JSON
    #[arg(long)]
    json: bool,
}

/// Probes and prints.
pub(crate) fn run(args: &ProbeArgs) -> anyhow::Result<Exit> {
    let catalogue = open_catalogue(&args.catalogue)?;
    let options =
        ProbeOptions { folds: args.folds, tracks: args.tracks, seed: args.seed, ..ProbeOptions::new(&args.tag) };
    let groups = catalogue.groups().len();
    let total = ((groups + usize::from(groups > 1)) * args.folds) as u64;
    let bar = progress_bar(Some(total), "{bar:30} {pos}/{len} folds, {eta} left", args.json);
    let report = probe(&catalogue, &options, &|folds| bar.inc(folds))?;
    bar.finish_and_clear();
    keep(&catalogue, &report)?;
    if args.json {
        print(&format!("{}\n", serde_json::to_string(&report)?))?;
    } else {
        print(&text(&report))?;
    }
    Ok(Exit::Success)
}

fn text(report: &ProbeReport) -> String {
    let mut text = format!("{}: {} tracks by {} artists", report.options.tag, report.tracks, report.artists);
    if !report.classes.is_empty() {
        let classes = report.classes.iter().map(|class| format!("{} ({})", class.text, class.tracks));
        let _ = write!(text, "; {}", classes.collect::<Vec<_>>().join(", "));
    }
    text.push('\n');
    for (count, what) in [
        (report.unknown, "tracks have no value"),
        (report.rare, "tracks have a text of fewer than three artists, and are left out"),
        (report.several, "tracks have several texts, of which the first is predicted"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{count} {what}");
        }
    }
    for note in &report.notes {
        let _ = writeln!(text, "{note}");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["hidden state".to_string()];
    for figure in report.rows.iter().take(1).flat_map(|row| &row.figures) {
        let name = match figure.name {
            "balanced_accuracy" => "balanced accuracy",
            "macro_f1" => "macro F1",
            _ => "R²",
        };
        header.extend([name.to_string(), "95%".into(), "chance".into()]);
    }
    let columns = header.len();
    table.set_header(header.into_iter().chain([String::new()]));
    for row in &report.rows {
        let mut cells = vec![row.name.clone()];
        for figure in &row.figures {
            let interval = figure.interval;
            cells.push(format!("{:.3}", interval.value));
            cells.push(format!("{:.3} to {:.3}", interval.low, interval.high));
            cells.push(format!("{:.3}", figure.chance));
        }
        cells.push(if row.is_predictable { "" } else { "not predictable" }.into());
        table.add_row(cells);
    }
    for column in 1..columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
    text
}
