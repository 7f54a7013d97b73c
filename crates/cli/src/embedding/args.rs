//! The options that every command has which embeds files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mert_audio::Damage;

/// The options of a run that no row depends on.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The number of decoding threads [default: one per processor, at most 4]; the model runs on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Stop at the first file that cannot be embedded, and write nothing
    #[arg(long)]
    pub strict: bool,
    /// Write a line of JSON for each file that could not be embedded: its name, a reason and the message
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Discard the files of an interrupted run, instead of continuing it
    #[arg(long)]
    pub restart: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// The values of `--damaged`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Damaged {
    /// Leave them out
    Skip,
    /// Embed what can be decoded
    Keep,
}

impl From<Damaged> for Damage {
    fn from(damaged: Damaged) -> Self {
        match damaged {
            Damaged::Skip => Damage::Refuse,
            Damaged::Keep => Damage::Keep,
        }
    }
}
