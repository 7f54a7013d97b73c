//! `mert-search probe`: how well a tag or a number is predicted from each hidden state.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use mert_cli::terminal::{Exit, print, progress_bar, say};
use mert_search::count;
use mert_search::probe::{MIN_ARTISTS, ProbeOptions, ProbeReport, keep, probe};

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

/// The texts of too few artists that are named.
const NAMED: usize = 10;

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
    if let Err(error) = keep(&catalogue, &report) {
        say(&format!("note: the figures are not kept, and reasons of hits will not show them: {error}"));
    }
    if args.json {
        print(&format!("{}\n", serde_json::to_string(&report)?))?;
    } else {
        print(&text(&report))?;
    }
    Ok(Exit::Success)
}

fn text(report: &ProbeReport) -> String {
    let (tracks, artists) = (count(report.tracks, "track"), count(report.artists, "artist"));
    let mut text = format!("{}: {tracks} by {artists}", report.options.tag);
    if !report.classes.is_empty() {
        let _ = write!(text, "; {}", count(report.classes.len(), "text"));
    }
    text.push('\n');
    if !report.left_out.is_empty() {
        let named = report.left_out.iter().take(NAMED).map(|class| format!("{} ({})", class.text, class.tracks));
        let more = report.left_out.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(
            text,
            "{} with fewer than {MIN_ARTISTS} artists, not predicted: {}{more}",
            count(report.left_out.len(), "text"),
            named.collect::<Vec<_>>().join(", ")
        );
    }
    for (tracks, what) in [
        (report.unknown, "without a value"),
        (report.rare, "with no other text: left out"),
        (report.several, "with several texts: each counts in the AUC, the first in accuracy and F1"),
    ] {
        if tracks > 0 {
            let _ = writeln!(text, "{} {what}", count(tracks, "track"));
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
            "macro_auc" => "mean AUC",
            "balanced_accuracy" => "balanced accuracy",
            "macro_f1" => "macro F1",
            _ => "R²",
        };
        header.extend([name.to_string(), "95 %".into(), "chance".into()]);
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
    if !report.classes.is_empty() {
        let _ = writeln!(text, "\n{}", areas(report).trim_fmt());
    }
    text
}

/// The area under the ROC curve of each text in each hidden state, with tracks and artists.
fn areas(report: &ProbeReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let header = ["AUC of".to_string(), "tracks".into(), "artists".into()];
    table.set_header(header.into_iter().chain(report.rows.iter().map(|row| row.name.clone())));
    for (index, class) in report.classes.iter().enumerate() {
        let areas = report.rows.iter().map(|row| row.areas.get(index).map_or(f64::NAN, |area| area.value));
        let areas = areas.map(|area| if area.is_nan() { "unknown".to_string() } else { format!("{area:.3}") });
        let cells = [class.text.clone(), class.tracks.to_string(), class.artists.to_string()];
        table.add_row(cells.into_iter().chain(areas));
    }
    for column in 1..3 + report.rows.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
