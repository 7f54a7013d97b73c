//! `mert-convert`: a PyTorch checkpoint in, a safetensors file for MLX and candle or a Core ML package out.

mod args;
mod command;
mod describe;
mod hub_progress;

use std::process::ExitCode;

use clap::Parser;
use mert_cli::terminal::Exit;
use mert_fs::remove_temporaries;

fn main() -> ExitCode {
    let args = args::Args::parse();
    // Without a handler the only loss is that an interrupted conversion leaves its temporary file.
    let _ = ctrlc::set_handler(|| {
        remove_temporaries(|| std::process::exit(Exit::Interrupted.code().into()));
    });
    match command::run(&args) {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            // The error may be that the signal handler has removed the temporary folder; that must finish first.
            remove_temporaries(|| ());
            command::report(&error);
            Exit::Error.into()
        }
    }
}
