//! `mert-search learn`: a metric from judgments, or from a head that was trained elsewhere.

mod head;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use comfy_table::{CellAlignment, Table, presets};
use mert_arch::printable_line;
use mert_cli::terminal::{Exit, print, progress_bar};
use mert_fs::FsError;
use mert_search::learn::{Judgments, LearnOptions, LearnReport, ModelKind, learn};
use mert_search::{Space, count};

use crate::cells;
use crate::geometry_args::GeometryArgs;
use crate::open::open_catalogue;

/// The options of `mert-search learn`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["pairs", "head"]))]
pub(crate) struct LearnArgs {
    /// The catalogue's folder; with --head it may be left out
    #[arg(required_unless_present = "head")]
    catalogue: Option<PathBuf>,
    /// A CSV file of judgments: a,b,label (1: alike, 0: not), a,b,odd (the odd one out), or seed,track,event (like, skip)
    #[arg(long, value_name = "FILE.csv")]
    pairs: Option<PathBuf>,
    /// A head of MERIT's form instead, `Linear → ReLU → Linear` in a file of torch.save or safetensors
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// The metric to write, for --metric of other subcommands
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// The number of times that artists are divided into folds anew
    #[arg(long, value_name = "N", default_value_t = 4)]
    repeats: usize,
    /// The seed of everything that is drawn at random
    #[arg(long, default_value_t = 15)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    geometry: GeometryArgs,
}

/// Learns and writes a metric. A metric without a sure gain is not written, and the status is 1.
pub(crate) fn run(args: &LearnArgs) -> anyhow::Result<Exit> {
    if args.output.extension().is_none_or(|extension| extension != "safetensors") {
        bail!("{}: expected a name that ends in .safetensors", args.output.display());
    }
    if args.output.exists() && !args.force {
        return Err(FsError::OutputExists { path: args.output.clone() }.into());
    }
    if let Some(path) = &args.head {
        return head::run(args, path);
    }
    let (catalogue, pairs) =
        args.catalogue.as_ref().zip(args.pairs.as_ref()).context("give a catalogue and --pairs")?;
    let catalogue = open_catalogue(catalogue)?;
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let judgments = Judgments::read(pairs, &catalogue)?;
    let options = LearnOptions { repeats: args.repeats, seed: args.seed, ..LearnOptions::default() };
    let total = (ModelKind::ALL.len() * options.folds * options.repeats) as u64;
    let bar = progress_bar(Some(total), "{bar:30} {pos}/{len} held-out folds, {eta} left", args.json);
    let (report, metric) = learn(&space, &judgments, &options, &|folds| bar.inc(folds))?;
    bar.finish_and_clear();
    if let Some(metric) = &metric {
        metric.save(&args.output, args.force)?;
    }
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        let mut text = text(&report);
        if let Some(metric) = &metric {
            let _ = writeln!(
                text,
                "wrote {}: use it with --metric {}\nsha256 {}",
                args.output.display(),
                args.output.display(),
                metric.sha256()?
            );
        }
        print(&text)?;
    }
    Ok(if metric.is_some() { Exit::Success } else { Exit::Failure })
}

fn name(model: ModelKind) -> &'static str {
    match model {
        ModelKind::Diagonal => "diagonal",
        ModelKind::LowRank => "low rank",
    }
}

fn text(report: &LearnReport) -> String {
    let mut text = format!(
        "{} of {} by {}; what is held out shares no artist with what is learned from\n",
        count(report.judgments, "judgment"),
        count(report.tracks, "track"),
        count(report.artists, "artist")
    );
    if report.unmatched > 0 {
        let files = report.unmatched_files.iter().map(|file| printable_line(file)).collect::<Vec<_>>().join(", ");
        let rows = count(report.unmatched, "row");
        let _ = writeln!(text, "left out: {rows} with files that the catalogue does not have, such as {files}");
    }
    if report.same_track > 0 {
        let _ = writeln!(text, "left out: {} of a track and itself", count(report.same_track, "row"));
    }
    if !report.models.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "model".to_string(),
            "held out".into(),
            format!("{} before", report.figure),
            "after".into(),
            "gain".into(),
            cells::share(report.level, 1),
        ]);
        for model in &report.models {
            table.add_row([
                name(model.model).to_string(),
                model.held_out.to_string(),
                format!("{:.3}", model.before.value),
                format!("{:.3}", model.after.value),
                format!("{:+.3}", model.gain.value),
                format!("{:+.3} to {:+.3}", model.gain.low, model.gain.high),
            ]);
        }
        for column in 1..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let _ = writeln!(text, "\n{}\n", table.trim_fmt());
    }
    match (&report.chosen, &report.refused) {
        (Some(model), _) => {
            let _ = writeln!(text, "the {} model has the larger gain", name(*model));
        }
        (None, Some(reason)) => {
            let _ = writeln!(text, "nothing was written: {reason}");
        }
        (None, None) => {}
    }
    text
}
