//! `mert-generate`: edits recordings by instructions and composes music from texts, with a bundle that mert-convert wrote.

mod args;
mod codes_file;
mod listener;
mod run;
mod summary;
mod wav;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use mert_cli::command_line;
use mert_cli::terminal::{Exit, error_text, say};
use mert_fs::remove_temporaries;

use crate::args::Args;

/// The request to end the generation, which a signal makes.
static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let args = command_line::parse::<Args>();
    // The first signal ends the generation after the current step, the second at once. Without a handler the only loss is that an
    // interrupted command leaves its temporary file.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            remove_temporaries(|| std::process::exit(Exit::Interrupted.code().into()));
        }
    });
    let exit = run::run(&args).unwrap_or_else(|error| {
        remove_temporaries(|| ());
        if STOP.load(Ordering::Relaxed) {
            say(if args.streams() { "interrupted: the output ends early" } else { "interrupted: nothing is written" });
            return Exit::Interrupted;
        }
        say(&format!("mert-generate: {}", error_text(&error)));
        Exit::Error
    });
    exit.into()
}
