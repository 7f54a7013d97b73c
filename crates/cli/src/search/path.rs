//! `mert-search path`: a way from one song to another.

use std::path::PathBuf;

use clap::Args;
use mert_cli::terminal::{Exit, print};
use mert_search::query::{Limits, PathOptions, SearchLevel, Versions, path};
use mert_search::{Calibration, Space};

use crate::geometry_args::GeometryArgs;
use crate::number_args;
use crate::open::open_catalogue;
use crate::output;
use crate::seeds::{SEED_HELP, SeedArgs};

/// The options of `mert-search path`.
#[derive(Debug, Args)]
#[command(after_help = SEED_HELP)]
pub(crate) struct PathArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// Where the path begins
    #[arg(value_name = "FROM")]
    from: String,
    /// Where the path ends
    #[arg(value_name = "TO")]
    to: String,
    #[command(flatten)]
    options: WalkArgs,
    /// The model for files that are not in the catalogue [default: the one that the catalogue was made with]
    #[arg(long, value_name = "MODEL")]
    model: Vec<PathBuf>,
    #[command(flatten)]
    geometry: GeometryArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The options of the way itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Path")]
pub(crate) struct WalkArgs {
    /// The number of tracks between the two
    #[arg(long, value_name = "N", default_value_t = PathOptions::default().steps, value_parser = number_args::steps)]
    steps: usize,
    /// Only tracks that fulfil this; `seed.` stands for the two ends
    #[arg(long = "where", value_name = "EXPRESSION")]
    filter: Option<String>,
    /// The most tracks between by one artist; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number_args::tracks)]
    per_artist: usize,
    /// The most tracks between from one album; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number_args::tracks)]
    per_album: usize,
    /// Allow several versions of one recording
    #[arg(long)]
    no_versions: bool,
    /// The percentile of a step's cosine below which it is marked as wide
    #[arg(long, value_name = "PERCENTILE", default_value_t = PathOptions::default().wide, value_parser = number_args::percentile)]
    wide: f64,
    /// The seed of the random pairs that percentiles refer to
    #[arg(long, value_name = "N", default_value_t = 0)]
    random_seed: u64,
}

impl WalkArgs {
    fn options(&self) -> PathOptions {
        PathOptions {
            steps: self.steps,
            filter: self.filter.clone(),
            limits: Limits { per_artist: self.per_artist, per_album: self.per_album, ..Limits::NONE },
            versions: (!self.no_versions).then(Versions::default),
            wide: self.wide,
        }
    }
}

/// Finds a way, and prints it.
pub(crate) fn run(args: &PathArgs) -> anyhow::Result<Exit> {
    let catalogue = open_catalogue(&args.catalogue)?;
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let seeds = SeedArgs::with_model(&args.model);
    let (from, to) = (seeds.seed(&catalogue, &args.from)?, seeds.seed(&catalogue, &args.to)?);
    seeds.note_unused_model([&from, &to]);
    let calibration = Calibration::new(&space, SearchLevel::Tracks, args.options.random_seed);
    let path = path(&space, &calibration, &from, &to, &args.options.options())?;
    print(&if args.json { output::path_json(&path)? } else { output::path_text(&path) })?;
    Ok(Exit::Success)
}
