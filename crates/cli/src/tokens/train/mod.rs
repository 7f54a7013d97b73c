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
use mert_tokens::vocabulary::{Normalize, OpenedVocabulary};

pub(crate) use self::args::TrainArgs;
use self::run::Run;
use self::settings::Settings;
use crate::file_kind::{FileKind, read_as};

/// Runs the subcommand.
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Exit> {
    let config = args.config.as_deref().map(TrainConfig::read).transpose()?;
    if let (Some(config), Some(path), false) = (&config, &args.config, args.run.quiet()) {
        config.notes.iter().for_each(|note| say(note));
        let unknown: Vec<&str> = config
            .extraction
            .encoders()
            .iter()
            .flat_map(|section| section.unknown.keys())
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            say(&format!("{}: not used: {}", printable_path(path), mert_arch::printable_line(&unknown.join(", "))));
        }
    }
    let settings = Settings::new(args, config.as_ref())?;
    let is_npy = match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => false,
        Some("npy") => true,
        _ => bail!("{}: name the output .safetensors, or .npy for the centres alone", printable_path(&args.output)),
    };
    ensure!(args.force || !args.output.exists(), mert_fs::FsError::OutputExists { path: args.output.clone() });
    if let Some(start) = args.start.as_ref().filter(|start| mert_fs::is_same_file(start, &args.output)) {
        bail!("{} is an input; give another output", printable_path(start));
    }
    let start = args.start.as_deref().map(|path| start_centres(path, &settings)).transpose()?;
    let training = Run { args, settings: &settings, is_npy, start };
    match args.features {
        true => training.on_features(),
        false => training.on_music(config.as_ref()),
    }
}

/// Centres to start from.
fn start_centres(path: &Path, settings: &Settings) -> anyhow::Result<Centres> {
    let vocabulary = read_as(path, FileKind::Vocabulary, OpenedVocabulary::open(path))?.vocabulary;
    let (name, k) = (printable_path(path), settings.k);
    ensure!(
        vocabulary.projection.is_none(),
        "{name} has steps in front of its centres (scaling, PCA or a linear map), which a training of frames does not have"
    );
    // A file of another program may not say how its frames were scaled.
    let is_known = vocabulary.normalize == Normalize::L2 || vocabulary.record.is_some();
    ensure!(
        vocabulary.normalize == settings.normalize || !is_known,
        "{name} has centres of frames normalised by {}, and this training normalises by {}: give --normalize {}",
        vocabulary.normalize,
        settings.normalize,
        vocabulary.normalize
    );
    ensure!(
        vocabulary.k() == k,
        "{} has {} centres: give --k {} or other centres to start from",
        printable_path(path),
        vocabulary.k(),
        vocabulary.k()
    );
    Centres::new(vocabulary.centroids().to_vec(), vocabulary.dim()).ok_or_else(|| anyhow!("no centres"))
}
