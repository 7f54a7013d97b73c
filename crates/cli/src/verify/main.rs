//! `mert-verify`: verifies that a converted model still computes what PyTorch computes.

mod args;
mod bench;
mod bundle;
mod gate;
mod hidden_states;
mod hub_inputs;
mod options;
mod output;
mod reference;
mod reports;
mod text;

use std::process::ExitCode;

use mert_cli::terminal::{Exit, say};
use mert_fs::remove_temporaries;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse_or_report();
    // Without a handler the only loss is that an interrupted run leaves its temporary files.
    let _ = ctrlc::set_handler(|| {
        remove_temporaries(|| std::process::exit(Exit::Interrupted.code().into()));
    });
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .init();
    let exit = run(&args).unwrap_or_else(|error| {
        // The error may be that the signal handler has removed the temporary folder; that must finish first.
        remove_temporaries(|| ());
        say(&format!("mert-verify: {error}"));
        Exit::Error
    });
    exit.into()
}

fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        None => gate::run(&args.gate),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Reference(args)) => reference::run(args).map(|()| Exit::Success),
        Some(Command::HiddenStates(args)) => hidden_states::run(args).map(|()| Exit::Success),
    }
}
