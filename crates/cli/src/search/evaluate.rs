//! `mert-search evaluate`: how well what sounds alike agrees with a tag, in several geometries.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use mert_cli::terminal::{Exit, print, progress_bar};
use mert_search::count;
use mert_search::evaluate::{ALL_PAIRS, Candidate, EvaluateOptions, Evaluation, evaluate, table};

use crate::cells;
use crate::geometry_args::GeometryArgs;
use crate::open::open_catalogue;

/// The options of `mert-search evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The column whose texts say what belongs together, such as genre
    #[arg(long, value_name = "COLUMN")]
    tag: String,
    /// The length of the lists that are judged
    #[arg(short, long, default_value_t = 10)]
    k: usize,
    /// Evaluate the geometry of the options only, and no others beside it
    #[arg(long)]
    only: bool,
    /// The most queries; of more, so many are drawn
    #[arg(long, value_name = "N", default_value_t = 2000)]
    queries: usize,
    /// The draws of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 1000)]
    draws: usize,
    /// The seed of everything that is drawn at random
    #[arg(long, default_value_t = 15)]
    seed: u64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    geometry: GeometryArgs,
}

/// Evaluates and prints.
pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<Exit> {
    let catalogue = open_catalogue(&args.catalogue)?;
    let geometry = args.geometry.geometry(&catalogue)?;
    let mut candidates = Vec::new();
    if !args.only && geometry.metric.is_none() {
        candidates = table(&catalogue, &geometry.weights);
        candidates.retain(|candidate| candidate.geometry != geometry);
    }
    candidates.insert(0, Candidate { name: "as given".into(), geometry });
    let options =
        EvaluateOptions { tag: args.tag.clone(), k: args.k, queries: args.queries, draws: args.draws, seed: args.seed };
    let live = catalogue.live().count_ones(..) as u64;
    let lists = if live as usize <= ALL_PAIRS { live } else { args.queries as u64 };
    let total = candidates
        .iter()
        .map(|candidate| lists + (args.queries as u64).min(live) + if candidate.geometry.csls { live } else { 0 })
        .sum();
    let bar = progress_bar(Some(total), "{bar:30} {pos}/{len} lists, {eta} left", args.json);
    let found = evaluate(&catalogue, &candidates, &options, &|lists| bar.inc(lists))?;
    bar.finish_and_clear();
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
    } else {
        print(&text(&found))?;
    }
    Ok(Exit::Success)
}

fn text(found: &Evaluation) -> String {
    let k = found.options.k;
    let mut text = format!(
        "{}: {}, each ranks {:.0} tracks by other artists, {:.0} of them relevant (means)\n",
        found.options.tag,
        count(found.queries, "query"),
        found.candidates,
        found.relevant
    );
    for (tracks, what) in [
        (found.without_tag, "without the tag: not ranked"),
        (found.without_relevant, "that no track by another artist shares the tag with: no queries"),
        (found.unknown_artists, "of unknown artists: count as by one"),
    ] {
        if tracks > 0 {
            let _ = writeln!(text, "{} {what}", count(tracks, "track"));
        }
    }
    for note in &found.notes {
        let _ = writeln!(text, "{note}");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let names = [format!("P@{k}"), "95 %".into(), "MAP".into(), format!("nDCG@{k}"), format!("R@{k}"), "MRR".into()];
    let hubs = ["skewness".to_string(), "never".into(), "Robin Hood".into()];
    table.set_header([String::new()].into_iter().chain(names).chain(hubs));
    for row in &found.rows {
        let figures = row.figures;
        table.add_row([
            row.name.clone(),
            format!("{:.3}", figures.precision.value),
            format!("{:.3}–{:.3}", figures.precision.low, figures.precision.high),
            format!("{:.3}", figures.map.value),
            format!("{:.3}", figures.ndcg.value),
            format!("{:.3}", figures.recall.value),
            format!("{:.3}", figures.mrr.value),
            format!("{:.2}", row.hubs.skewness),
            cells::share(row.hubs.never, 1),
            format!("{:.3}", row.hubs.robin_hood),
        ]);
    }
    let chance = found.chance;
    let expected = [chance.precision, f64::NAN, chance.map, chance.ndcg, chance.recall, chance.mrr];
    let cells = expected.map(|value| if value.is_nan() { String::new() } else { format!("{value:.3}") });
    table.add_row(["random order".to_string()].into_iter().chain(cells));
    for column in 1..10 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
    text
}
