//! `mert-convert`: converts a PyTorch checkpoint to a safetensors file for MLX and candle, or to a Core ML package.

mod args;
mod command;
mod describe;

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
