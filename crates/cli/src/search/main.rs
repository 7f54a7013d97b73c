//! `mert-search`: a catalogue of music by its embeddings, and what sounds alike in it.

mod cluster;
mod evaluate;
mod geometry_args;
mod info;
mod learn;
mod map;
mod probe;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mert_cli::terminal::{Exit, say};

/// Finds music that sounds alike, by the hidden states of a converted model of MERT, HuBERT or a related encoder.
#[derive(Debug, Parser)]
#[command(name = "mert-search", version, max_term_width = 120)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measure how well what sounds alike agrees with a tag
    Evaluate(evaluate::EvaluateArgs),
    /// Group tracks that sound alike
    Cluster(cluster::ClusterArgs),
    /// Place every track on a map, by what sounds alike
    Map(map::MapArgs),
    /// Learn from judgments what sounds alike
    Learn(Box<learn::LearnArgs>),
    /// Measure how well a tag or a number is predicted from each hidden state
    Probe(probe::ProbeArgs),
    /// Describe a catalogue
    Info(info::InfoArgs),
}

fn main() -> ExitCode {
    let result = match &Args::parse().command {
        Command::Evaluate(args) => evaluate::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Map(args) => map::run(args),
        Command::Learn(args) => learn::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Info(args) => info::run(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            mert_fs::remove_temporaries(|| ());
            say(&format!("mert-search: {error:#}"));
            Exit::Error.into()
        }
    }
}
