//! `mert-embed`: audio files in, a table of embeddings out.

mod cli;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    // Without a handler an interrupted run ends at once, and its journal keeps all files that were finished.
    let _ = ctrlc::set_handler(cli::interrupt);
    match cli::run(&args) {
        Ok(status) => status,
        Err(error) => {
            cli::say(&format!("mert-embed: {error}"));
            ExitCode::from(2)
        }
    }
}
