//! `mert-convert`: a PyTorch checkpoint in, an MLX or candle safetensors file out.

mod cli;
mod hub_progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    // 130: what shells report for a program that was interrupted. Without a handler the only loss is that
    // an interrupted conversion leaves its temporary file.
    let _ = ctrlc::set_handler(|| {
        mert_convert::write::discard_partial();
        std::process::exit(130);
    });
    match cli::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&error);
            ExitCode::from(2)
        }
    }
}
