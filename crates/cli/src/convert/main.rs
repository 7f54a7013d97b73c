//! `mert-convert`: converts a PyTorch checkpoint to a safetensors file for MLX and candle, or to a Core ML package.

mod adapter_args;
mod args;
mod budget_args;
mod command;
mod describe;
mod describe_choices;
mod describe_musicgen;
mod hub_musicgen;
mod musicgen;
mod musicgen_args;
mod musicgen_budget;
mod progress;
mod quantize_args;
mod target;
mod values;

use std::process::ExitCode;

use mert_cli::command_line;
use mert_cli::terminal::{Exit, exit_on_signal};
use mert_fs::remove_temporaries;

fn main() -> ExitCode {
    let args = command_line::parse::<args::Args>();
    exit_on_signal();
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
