//! `mert-convert`: a PyTorch checkpoint in, an MLX or candle safetensors file out.

mod cli;
mod hub_progress;

use std::process::ExitCode;

use clap::Parser;
use mert_convert::write::discard_partial;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    // 130: what shells report for a program that was interrupted. Without a handler the only loss is that
    // an interrupted conversion leaves its temporary file.
    let _ = ctrlc::set_handler(|| {
        discard_partial(|| std::process::exit(130));
    });
    match cli::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error may be that a signal has taken the temporary folder away, which must come to its end.
            discard_partial(|| ());
            cli::report(&error);
            ExitCode::from(2)
        }
    }
}
