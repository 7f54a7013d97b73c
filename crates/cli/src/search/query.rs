//! `mert-search query`: what sounds like some tracks, passages, files or vectors.

use std::path::PathBuf;

use clap::Args;
use mert_cli::terminal::{Exit, print};
use mert_search::explain::{ExplainOptions, explain};
use mert_search::query::search;
use mert_search::{Calibration, Level, Space};

use crate::geometry_args::GeometryArgs;
use crate::open::open_catalogue;
use crate::output;
use crate::search_args::SearchArgs;
use crate::seeds::{SEED_HELP, SeedArgs};

/// The options of `mert-search query`.
#[derive(Debug, Args)]
#[command(after_help = SEED_HELP)]
pub(crate) struct QueryArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// What hits should sound like
    #[arg(value_name = "SEED", required_unless_present = "vector")]
    seeds: Vec<String>,
    #[command(flatten)]
    more: SeedArgs,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    geometry: GeometryArgs,
    /// Add the reasons of each hit, as `mert-search why` has them
    #[arg(long)]
    why: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Searches, and prints the hits.
pub(crate) fn run(args: &QueryArgs) -> anyhow::Result<Exit> {
    let options = args.search.options()?;
    let catalogue = open_catalogue(&args.catalogue)?;
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let seeds = args.more.seeds(&space, &args.seeds)?;
    args.more.note_unused_model(seeds.iter().map(|(seed, _)| seed));
    let calibration = Calibration::new(&space, options.level, args.search.random_seed);
    let answer = search(&space, &calibration, &seeds, &options)?;
    let mut reasons = Vec::new();
    if args.why {
        for hit in &answer.hits {
            let (level, row) = hit.segment.map_or((Level::Tracks, hit.track), |segment| (Level::Segments, segment));
            reasons.push(explain(&space, &calibration, &seeds, level, row, &ExplainOptions::default())?);
        }
    }
    let text = match args.json {
        true => output::answer_json(&space, &seeds, &answer, &reasons)?,
        false => output::answer_text(&seeds, &answer, &reasons),
    };
    print(&text)?;
    Ok(Exit::Success)
}
