//! The seeds of a command line: tracks, passages, files that are not in the catalogue, and vectors.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use mert_cli::terminal::say;
use mert_search::catalogue::tags::read_tags;
use mert_search::query::{SeedSegment, find_path, looks_like_times, parse_times, read_vectors, resolve_track};
use mert_search::{Catalogue, Seed, Space, excerpt};
use mert_table::escape;

use crate::embedding::{CatalogueModel, EmbeddedSegment};
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
        let mut reader = SeedReader { catalogue: space.catalogue(), models: &self.model, model: None };
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
        SeedReader { catalogue, models: &self.model, model: None }.read(text)
    }
}

/// A reader of seeds, which opens the catalogue's model when a file needs it.
struct SeedReader<'a> {
    catalogue: &'a Catalogue,
    models: &'a [PathBuf],
    model: Option<CatalogueModel>,
}

impl SeedReader<'_> {
    /// The seed that `text` means. A file's name may hold an `@`: what is a path as a whole is one.
    fn read(&mut self, text: &str) -> anyhow::Result<Seed> {
        let path = Path::new(text);
        if let Some(track) = find_path(self.catalogue, path) {
            return Ok(Seed::Track(track));
        }
        if path.is_file() {
            return self.embed(path, None);
        }
        let Some((name, times)) = text.rsplit_once('@') else {
            return Ok(Seed::Track(resolve_track(self.catalogue, text)?));
        };
        let (path, parsed) = (Path::new(name), parse_times(times));
        let known = find_path(self.catalogue, path);
        match parsed {
            Ok((start, end)) => match known {
                Some(track) => Ok(Seed::Passage { track, start, end }),
                None if path.is_file() => self.embed(path, Some((start, end))),
                None => Ok(Seed::Passage { track: resolve_track(self.catalogue, name)?, start, end }),
            },
            Err(fault) => match resolve_track(self.catalogue, text) {
                Ok(track) => Ok(Seed::Track(track)),
                // The part before the `@` names a track or a file, so that the part behind it was meant as times.
                Err(_)
                    if path.is_file()
                        || looks_like_times(times)
                        || known.or_else(|| resolve_track(self.catalogue, name).ok()).is_some() =>
                {
                    Err(anyhow!("invalid passage `{}` of {}: {fault}", excerpt(times), excerpt(name)))
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    fn embed(&mut self, path: &Path, passage: Option<(f64, f64)>) -> anyhow::Result<Seed> {
        let model = match &mut self.model {
            Some(model) => model,
            empty => empty.insert(CatalogueModel::open(self.catalogue, self.models)?),
        };
        let segments = seed_segments(model.embed_file(path, passage)?);
        let end = segments.iter().map(|segment| segment.end).fold(0.0, f64::max);
        let label = match passage {
            None => escape(path),
            Some((start, end)) => format!("{}@{start}-{end}", escape(path)),
        };
        Ok(Seed::Vectors { label, duration: passage.is_none().then_some(end), segments, metadata: read_tags(path).0 })
    }
}

/// Embedded segments as those of a seed.
pub(crate) fn seed_segments(segments: Vec<EmbeddedSegment>) -> Vec<SeedSegment> {
    let segment = |EmbeddedSegment { start, end, values }| SeedSegment { start, end, values };
    segments.into_iter().map(segment).collect()
}
