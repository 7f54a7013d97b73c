//! The options of a search, which `query` and `playlist` share.

use clap::{Args, ValueEnum};
use mert_search::query::{Blend, Limits, SearchLevel, Versions};
use mert_search::{COMPRESSED_ABOVE, SearchOptions, excerpt};

use crate::number_args;

/// The options of a search.
#[derive(Debug, Args)]
#[command(next_help_heading = "Search")]
pub(crate) struct SearchArgs {
    /// The number of hits
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = number_args::hits)]
    top: usize,
    /// Only tracks that fulfil this, such as "bpm 90..110 and language != de and artist != seed.artist"
    #[arg(long = "where", value_name = "EXPRESSION")]
    filter: Option<String>,
    /// What is found: tracks, or of each track the passage that is nearest
    #[arg(long, value_enum, default_value_t = LevelArg::Tracks)]
    level: LevelArg,
    /// How much a hit has to be unlike the hits before it, from 0 (the pure ranking) to 1
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number_args::share)]
    variety: f64,
    /// The most hits by one artist; 0 for any number, in a row as well
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_artist, value_parser = number_args::tracks)]
    per_artist: usize,
    /// The most hits from one album; 0 for any number, in a row as well
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_album, value_parser = number_args::tracks)]
    per_album: usize,
    /// The fewest other hits between two by one artist [default: 1, or 0 with --per-artist 0]
    #[arg(long, value_name = "N", value_parser = number_args::tracks)]
    artist_gap: Option<usize>,
    /// The fewest other hits between two from one album [default: 1, or 0 with --per-album 0]
    #[arg(long, value_name = "N", value_parser = number_args::tracks)]
    album_gap: Option<usize>,
    /// The largest cosine distance of two versions of one recording, which share a hit
    #[arg(long, value_name = "DISTANCE", default_value_t = Versions::default().distance, value_parser = number_args::distance)]
    version_distance: f64,
    /// The largest difference of the lengths of two versions
    #[arg(long, value_name = "SECONDS", default_value_t = Versions::default().seconds, value_parser = number_args::seconds)]
    version_seconds: f64,
    /// List each version of a recording as a hit
    #[arg(long, conflicts_with_all = ["version_distance", "version_seconds"])]
    no_versions: bool,
    /// A column of numbers, or `duration`, that the order depends on, with its weight beside the score's, such as
    /// popularity:0.2
    #[arg(long, value_name = "COLUMN:WEIGHT", value_delimiter = ',', allow_hyphen_values = true)]
    blend: Vec<String>,
    /// The number of vectors above which compressed ones are searched first, which can miss a hit; how many, is measured and
    /// printed. 0: never
    #[arg(long, value_name = "N", default_value_t = COMPRESSED_ABOVE)]
    compressed_above: usize,
    /// The seed of the random pairs that percentiles refer to
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) random_seed: u64,
}

/// The values of `--level`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelArg {
    /// Tracks
    Tracks,
    /// Passages
    Passages,
}

impl SearchArgs {
    /// The options of the search.
    pub(crate) fn options(&self) -> anyhow::Result<SearchOptions> {
        let blend = self.blend.iter().map(|text| blend(text)).collect::<anyhow::Result<_>>()?;
        let default = Limits::default();
        let gap =
            |given: Option<usize>, limit: usize, default: usize| given.unwrap_or(if limit == 0 { 0 } else { default });
        Ok(SearchOptions {
            top: self.top,
            level: match self.level {
                LevelArg::Tracks => SearchLevel::Tracks,
                LevelArg::Passages => SearchLevel::Passages,
            },
            filter: self.filter.clone(),
            variety: self.variety,
            limits: Limits {
                per_artist: self.per_artist,
                per_album: self.per_album,
                artist_gap: gap(self.artist_gap, self.per_artist, default.artist_gap),
                album_gap: gap(self.album_gap, self.per_album, default.album_gap),
            },
            versions: (!self.no_versions)
                .then_some(Versions { distance: self.version_distance, seconds: self.version_seconds }),
            blend,
            compressed_above: self.compressed_above,
        })
    }
}

/// A column and its weight; the column may hold colons.
fn blend(text: &str) -> anyhow::Result<Blend> {
    let parsed = text.rsplit_once(':').and_then(|(column, weight)| Some((column, weight.parse().ok()?)));
    match parsed {
        Some((column, weight)) if (-1.0..=1.0).contains(&weight) => Ok(Blend { column: column.to_string(), weight }),
        _ => anyhow::bail!(
            "invalid --blend {}: expected a column and a weight from -1 to 1, such as popularity:0.2",
            excerpt(text)
        ),
    }
}
