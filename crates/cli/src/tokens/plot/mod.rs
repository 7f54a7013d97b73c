//! `mert-tokens plot`: pictures of tokens, oracles and searches, one SVG each.

mod input;
mod oracle;
mod ranks;
mod threshold;
mod tokens;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use mert_cli::embedding::interrupt::while_writing;
use mert_cli::terminal::{Exit, say};
use mert_fs::replace_file;
use mert_table::printable_path;

/// Draws tokens, an oracle or a search for a threshold as SVG.
#[derive(Debug, Args)]
pub(crate) struct PlotArgs {
    #[command(subcommand)]
    picture: Picture,
}

/// The pictures.
#[derive(Debug, Subcommand)]
enum Picture {
    /// Draw the tokens of a recording under its spectrogram
    Tokens(tokens::TokensArgs),
    /// Draw the suffix links of an oracle as arcs over its events
    Oracle(oracle::OracleArgs),
    /// Draw the entropy of an oracle's events over time
    Entropy(oracle::EntropyArgs),
    /// Draw the information rate over the thresholds of a search
    Threshold(threshold::ThresholdArgs),
    /// Draw how often each token occurs, by rank
    Ranks(ranks::RanksArgs),
}

/// The options of all pictures.
#[derive(Debug, Args)]
struct OutputArgs {
    /// The SVG to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The title of the picture [default: what it shows]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &PlotArgs) -> anyhow::Result<Exit> {
    match &args.picture {
        Picture::Tokens(args) => tokens::run(args),
        Picture::Oracle(args) => oracle::run(args),
        Picture::Entropy(args) => oracle::run_entropy(args),
        Picture::Threshold(args) => threshold::run(args),
        Picture::Ranks(args) => ranks::run(args),
    }
}

impl OutputArgs {
    /// Refuses an output that exists or is an input, before anything is computed.
    fn check(&self, inputs: &[&Path]) -> anyhow::Result<()> {
        let is_svg = self.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"));
        ensure!(is_svg, "{}: name the output .svg", printable_path(&self.output));
        ensure!(self.force || !self.output.exists(), mert_fs::FsError::OutputExists { path: self.output.clone() });
        if let Some(input) = inputs.iter().find(|input| mert_fs::is_same_file(input, &self.output)) {
            bail!("{} is an input; give another output", printable_path(input));
        }
        Ok(())
    }

    /// The title, or what the picture shows.
    fn title(&self, default: impl FnOnce() -> String) -> String {
        self.title.clone().unwrap_or_else(default)
    }

    fn write(&self, svg: &str) -> anyhow::Result<Exit> {
        while_writing(|| replace_file(&self.output, |output| output.write_all(svg.as_bytes())))?;
        if !self.quiet {
            say(&format!("{}: {} kB", printable_path(&self.output), svg.len().div_ceil(1000)));
        }
        Ok(Exit::Success)
    }
}
