//! `mert-search`: a catalogue of music by its embeddings, and what sounds alike in it.

mod about;
mod add;
mod add_args;
mod cells;
mod changes;
mod cluster;
mod compact;
mod evaluate;
mod folders;
mod geometry_args;
mod info;
mod learn;
mod map;
mod number_args;
mod open;
mod output;
mod path;
mod playlist;
mod probe;
mod query;
mod remove;
mod search_args;
mod seeds;
mod serve;
mod update;
mod verify;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mert_cli::command_line;
use mert_cli::terminal::{Exit, error_text, say};

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
    /// Remove tracks from a catalogue
    Remove(remove::RemoveArgs),
    /// Embed changed files again, find moved ones, or join metadata
    Update(Box<update::UpdateArgs>),
    /// Find what sounds like tracks, passages or files
    Query(Box<query::QueryArgs>),
    /// Explain the score of a track
    Why(why::WhyArgs),
    /// Find a way from one song to another
    Path(path::PathArgs),
    /// Write what sounds alike as a playlist
    Playlist(Box<playlist::PlaylistArgs>),
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
    /// Serve a page to search and listen on, and a JSON API
    Serve(serve::ServeArgs),
    /// Describe a catalogue
    Info(info::InfoArgs),
    /// Check that a catalogue is whole
    Verify(verify::VerifyArgs),
    /// Write a catalogue as one part, without removed tracks
    Compact(compact::CompactArgs),
}

fn main() -> ExitCode {
    let command = command_line::parse::<Args>().command;
    // The server ends by a signal of its own accord.
    if !matches!(command, Command::Serve(_)) {
        // Without a handler an interrupted addition ends at once, and its journal keeps all files that were finished.
        let _ = ctrlc::set_handler(mert_cli::embedding::interrupt::on_signal);
    }
    let result = match &command {
        Command::Add(args) => add::run(args),
        Command::Remove(args) => remove::run(args),
        Command::Update(args) => update::run(args),
        Command::Query(args) => query::run(args),
        Command::Why(args) => why::run(args),
        Command::Path(args) => path::run(args),
        Command::Playlist(args) => playlist::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Map(args) => map::run(args),
        Command::Learn(args) => learn::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Info(args) => info::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Compact(args) => compact::run(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            mert_fs::remove_temporaries(|| ());
            say(&format!("mert-search: {}", error_text(&error)));
            Exit::Error.into()
        }
    }
}
