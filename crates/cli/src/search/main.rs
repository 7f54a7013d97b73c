//! `mert-search`: a catalogue of music by its embeddings, and what sounds alike in it.

mod about;
mod add;
mod add_args;
mod changes;
mod embedding;
mod geometry_args;
mod info;
mod map;
mod output;
mod path;
mod playlist;
mod query;
mod search_args;
mod seeds;
mod why;

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
    /// Add files or a table to a catalogue
    Add(Box<add_args::AddArgs>),
    /// Find what sounds like tracks, passages or files
    Query(Box<query::QueryArgs>),
    /// Explain the score of a track
    Why(why::WhyArgs),
    /// Find a way from one song to another
    Path(path::PathArgs),
    /// Write what sounds alike as a playlist
    Playlist(Box<playlist::PlaylistArgs>),
    /// Place every track on a map, by what sounds alike
    Map(map::MapArgs),
    /// Describe a catalogue
    Info(info::InfoArgs),
}

fn main() -> ExitCode {
    // Without a handler an interrupted addition ends at once, and its journal keeps all files that were finished.
    let _ = ctrlc::set_handler(mert_cli::embedding::interrupt::on_signal);
    let result = match &Args::parse().command {
        Command::Add(args) => add::run(args),
        Command::Query(args) => query::run(args),
        Command::Why(args) => why::run(args),
        Command::Path(args) => path::run(args),
        Command::Playlist(args) => playlist::run(args),
        Command::Map(args) => map::run(args),
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
