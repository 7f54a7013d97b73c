//! `mert-search why`: the terms of a track's score, and what sets it apart from another.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use mert_cli::terminal::{Exit, print};
use mert_search::explain::{ExplainOptions, contrast, explain};
use mert_search::query::{SearchLevel, resolve_track};
use mert_search::{Calibration, Level, Space, excerpt};

use crate::geometry_args::GeometryArgs;
use crate::number_args;
use crate::open::open_catalogue;
use crate::output;
use crate::seeds::{SEED_HELP, SeedArgs};

/// The options of `mert-search why`.
#[derive(Debug, Args)]
#[command(after_help = SEED_HELP)]
pub(crate) struct WhyArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The seeds, and then the track whose score is explained
    #[arg(value_name = "SEED… TRACK", required = true, num_args = 1..)]
    seeds: Vec<String>,
    /// Compare with another track: the differences of the same terms
    #[arg(long, value_name = "TRACK")]
    versus: Option<String>,
    #[command(flatten)]
    more: SeedArgs,
    #[command(flatten)]
    geometry: GeometryArgs,
    /// The number of pairs of passages that are listed
    #[arg(long, value_name = "N", default_value_t = ExplainOptions::default().pairs, value_parser = number_args::pairs)]
    pairs: usize,
    /// The columns of facts, separated by commas [default: title, artist, album, genre, year, bpm, key, loudness, mood,
    /// language]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// The seed of the random pairs that averages and percentiles refer to
    #[arg(long, value_name = "N", default_value_t = 0)]
    random_seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Explains, and prints the terms.
pub(crate) fn run(args: &WhyArgs) -> anyhow::Result<Exit> {
    let catalogue = open_catalogue(&args.catalogue)?;
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let (track, seeds) = args.seeds.split_last().context("expected a SEED and a TRACK")?;
    if seeds.is_empty() && !args.more.has_vectors() {
        bail!("expected a SEED and then the TRACK whose score is explained, found only `{}`", excerpt(track));
    }
    let seeds = args.more.seeds(&space, seeds)?;
    args.more.note_unused_model(seeds.iter().map(|(seed, _)| seed));
    let resolve = |text: &str| match resolve_track(&catalogue, text) {
        Err(_) if Path::new(text).is_file() => {
            bail!("{} is not in the catalogue, and a score is that of a track in it", excerpt(text))
        }
        track => Ok(track?),
    };
    let track = resolve(track)?;
    let calibration = Calibration::new(&space, SearchLevel::Tracks, args.random_seed);
    let options = ExplainOptions { pairs: args.pairs, columns: args.columns.clone() };
    let reasons = explain(&space, &calibration, &seeds, Level::Tracks, track, &options)?;
    let contrast = match &args.versus {
        Some(versus) => Some(contrast(&space, &calibration, &seeds, track, resolve(versus)?)?),
        None => None,
    };
    let text = match args.json {
        true => output::reasons_json(&space, &seeds, &reasons, contrast.as_ref())?,
        false => output::reasons_text(&seeds, &reasons, contrast.as_ref()),
    };
    print(&text)?;
    Ok(Exit::Success)
}
