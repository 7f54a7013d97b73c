//! `mert-tokens`: tokens for the frames of a model, an oracle of their sequence, and music from it.

mod analysis;
mod encode;
mod encoder;
mod events;
mod failure;
mod file_kind;
mod import;
mod improvise;
mod inputs;
mod live;
mod modes;
mod oracle;
mod plot;
mod request_args;
mod run_args;
mod train;
mod windows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mert_cli::command_line;
use mert_cli::embedding::interrupt;
use mert_cli::terminal::{Exit, error_text, say};

/// Turns the frames of a converted model into tokens, learns their sequence in an oracle, and improvises with it.
#[derive(Debug, Parser)]
#[command(name = "mert-tokens", version, max_term_width = 120)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show how far tokens depend on the window in which a frame is computed
    Windows(windows::WindowsArgs),
    /// Find a vocabulary of tokens: the centres of the frames of music, by k-means
    Train(Box<train::TrainArgs>),
    /// Write a vocabulary of another program with the model and windows that it is for
    Import(import::ImportArgs),
    /// Write the token of each frame of files
    Encode(Box<encode::EncodeArgs>),
    /// Cut recordings into events with tokens, notes and features
    Events(events::EventsArgs),
    /// Build an oracle of events, tokens or vectors
    Oracle(oracle::OracleArgs),
    /// Walk through an oracle under a request, and write what it chooses as MIDI or sound
    Improvise(Box<improvise::ImproviseArgs>),
    /// Answer sound with notes while it is played
    Live(Box<live::LiveArgs>),
    /// Show which mode a recording would choose by CLAP
    Modes(modes::ModesArgs),
    /// Draw tokens, an oracle or a search for a threshold
    Plot(plot::PlotArgs),
}

fn main() -> ExitCode {
    let command = command_line::parse::<Args>().command;
    // Without a handler an interrupted training ends at once, and keeps all files and passes that were finished.
    let _ = ctrlc::set_handler(interrupt::on_signal);
    let result = match &command {
        Command::Windows(args) => windows::run(args),
        Command::Train(args) => train::run(args),
        Command::Import(args) => import::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Events(args) => events::run(args),
        Command::Oracle(args) => oracle::run(args),
        Command::Improvise(args) => improvise::run(args),
        Command::Live(args) => live::run(args),
        Command::Modes(args) => modes::run(args),
        Command::Plot(args) => plot::run(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            mert_fs::remove_temporaries(|| ());
            say(&format!("mert-tokens: {}", error_text(&error)));
            Exit::Error.into()
        }
    }
}
