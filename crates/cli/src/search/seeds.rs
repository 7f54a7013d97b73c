//! The seeds of a command line: tracks, passages, files that are not in the catalogue, and vectors.

use std::path::PathBuf;

use clap::Args;
use mert_cli::catalogue::{CatalogueModel, SeedReader};
use mert_cli::hub::Messages;
use mert_cli::terminal::say;
use mert_search::query::read_vectors;
use mert_search::{Catalogue, Seed, Space};

use crate::number_args;

/// What the texts of seeds mean, for the help texts.
pub(crate) const SEED_HELP: &str = "A SEED is a track: its path, or a part of its file name, title or `artist - title` \
    that no other track has; a file that is not in the catalogue, which is embedded with the catalogue's model; or a passage \
    of either, such as song.mp3@1:20-1:35 or song.mp3@80-95.";

/// The options that add seeds to those of the command line.
#[derive(Debug, Args)]
#[command(next_help_heading = "Seeds")]
pub(crate) struct SeedArgs {
    /// A seed that hits should be unlike; given again for each
    #[arg(long, value_name = "SEED")]
    minus: Vec<String>,
    /// The weight of each --minus seed beside the others, whose weight is 1
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, requires = "minus", value_parser = number_args::weight)]
    minus_weight: f64,
    /// A file with a vector, or one for each segment: .npy or .json; given again for each
    #[arg(long, value_name = "FILE")]
    vector: Vec<PathBuf>,
    /// The model for files that are not in the catalogue [default: the one that the catalogue was made with]
    #[arg(long, value_name = "MODEL")]
    model: Vec<PathBuf>,
}

impl SeedArgs {
    /// The seeds in `texts` and of the options, with their weights.
    pub(crate) fn seeds(&self, space: &Space<'_>, texts: &[String]) -> anyhow::Result<Vec<(Seed, f64)>> {
        let (mut model, catalogue) = (None, space.catalogue());
        let mut reader = self.reader(catalogue, &mut model);
        let mut seeds = Vec::with_capacity(texts.len() + self.minus.len() + self.vector.len());
        for text in texts {
            seeds.push((reader.read(text)?, 1.0));
        }
        for path in &self.vector {
            seeds.push((read_vectors(space, path)?, 1.0));
        }
        for text in &self.minus {
            seeds.push((reader.read(text)?, -self.minus_weight));
        }
        anyhow::ensure!(seeds.iter().any(|&(_, weight)| weight > 0.0), "expected a SEED or --vector FILE");
        Ok(seeds)
    }

    /// Whether the options name a file with a vector.
    pub(crate) fn has_vectors(&self) -> bool {
        !self.vector.is_empty()
    }

    /// A note that the model was not needed, if one is given and all of `seeds` are tracks of the catalogue or vectors.
    pub(crate) fn note_unused_model<'s>(&self, seeds: impl IntoIterator<Item = &'s Seed>) {
        let outside = seeds.into_iter().filter(|seed| seed.track().is_none()).count();
        let embedded = outside.saturating_sub(self.vector.len());
        if !self.model.is_empty() && embedded == 0 {
            say("note: --model is not used: no seed is a file outside the catalogue");
        }
    }

    /// No more seeds, and the models for files.
    pub(crate) fn with_model(model: &[PathBuf]) -> Self {
        SeedArgs { minus: Vec::new(), minus_weight: 1.0, vector: Vec::new(), model: model.to_vec() }
    }

    /// The seed that `text` means.
    pub(crate) fn seed(&self, catalogue: &Catalogue, text: &str) -> anyhow::Result<Seed> {
        self.reader(catalogue, &mut None).read(text)
    }

    fn reader<'a>(&'a self, catalogue: &'a Catalogue, model: &'a mut Option<CatalogueModel>) -> SeedReader<'a> {
        SeedReader { catalogue, models: &self.model, messages: Messages::of("mert-search", false), model }
    }
}
