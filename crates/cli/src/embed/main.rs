//! `mert-embed`: audio files in, a table of embeddings out.

mod args;
mod checks;
mod dry_run;
mod model;
mod run;
mod summary;

use std::process::ExitCode;

use mert_cli::command_line;
use mert_cli::embedding::interrupt;
use mert_cli::terminal::{Exit, say};

fn main() -> ExitCode {
    let args = command_line::parse::<args::Args>();
    // Without a handler an interrupted run ends at once, and its journal keeps all files that were finished.
    let _ = ctrlc::set_handler(interrupt::on_signal);
    match run::run(&args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The error may be that the signal handler has removed a temporary file; that must finish first.
            mert_fs::remove_temporaries(|| ());
            say(&format!("mert-embed: {error}"));
            Exit::Error.into()
        }
    }
}
