//! `mert-tokens train`: frames of music to the centres of a vocabulary.
//!
//! - `args.rs`, `settings.rs`: the options, alone and with a configuration.
//! - `music.rs`, `features.rs`: frames of music, and frames that are computed already.
//! - `run.rs`: from frames to the vocabulary. `progress.rs`, `report.rs`: what is said on the way and at the end.

mod args;
mod features;
mod music;
mod progress;
mod report;
mod run;
mod settings;

use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use mert_cli::terminal::{Exit, say};
use mert_table::printable_path;
use mert_tokens::TrainConfig;
use mert_tokens::kmeans::Centres;
use mert_tokens::vocabulary::OpenedVocabulary;

pub(crate) use self::args::TrainArgs;
use self::run::Run;
use self::settings::Settings;
use crate::file_kind::{FileKind, read_as};

/// Runs the subcommand.
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Exit> {
    let config = args.config.as_deref().map(TrainConfig::read).transpose()?;
    for note in config.iter().flat_map(|config| &config.notes).filter(|_| !args.run.quiet()) {
        say(note);
    }
    let settings = Settings::new(args, config.as_ref())?;
    let is_npy = match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => false,
        Some("npy") => true,
        _ => bail!("{}: name the output .safetensors, or .npy for the centres alone", printable_path(&args.output)),
    };
    ensure!(args.force || !args.output.exists(), mert_fs::FsError::OutputExists { path: args.output.clone() });
    let start = args.start.as_deref().map(|path| start_centres(path, settings.k)).transpose()?;
    let training = Run { args, settings: &settings, is_npy, start };
    match args.features {
        true => training.on_features(),
        false => training.on_music(config.as_ref()),
    }
}

/// Centres to start from.
fn start_centres(path: &Path, k: usize) -> anyhow::Result<Centres> {
    let vocabulary = read_as(path, FileKind::Vocabulary, OpenedVocabulary::open(path))?.vocabulary;
    ensure!(
        vocabulary.k() == k,
        "{} has {} centres: give --k {} or other centres to start from",
        printable_path(path),
        vocabulary.k(),
        vocabulary.k()
    );
    Centres::new(vocabulary.centroids().to_vec(), vocabulary.dim()).ok_or_else(|| anyhow!("no centres"))
}
