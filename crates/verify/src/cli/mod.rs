//! The command line: one file for each subcommand.

mod bench;
mod hidden_states;
mod reference;
mod reports;
mod verify;

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;
use clap::{CommandFactory, Parser, Subcommand};
use mert_arch::Dtype;
use mert_runtime::DeviceKind;
use mert_verify::report::printable;

/// Verifies that a converted MERT or HuBERT model still computes what PyTorch computes.
///
/// Without MODEL the built-in fixture is run. Exit status: 0 passed or done, 1 the gate failed, 2 could
/// not be checked or done.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    verify: verify::VerifyArgs,
}

/// Where and in which arithmetic a subcommand runs a model.
#[derive(Debug, clap::Args)]
struct ComputeArgs {
    /// The device that runs the model: cpu, metal (mps), cuda or auto
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// The element type in which the model computes: f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Time the forward pass
    Bench(bench::BenchArgs),
    /// Compute a reference .npz from an original checkpoint with libtorch (feature `tch`)
    Reference(reference::ReferenceArgs),
    /// Write a model's hidden states to a .npz
    HiddenStates(hidden_states::HiddenStatesArgs),
}

/// How a run ended, if not with an error of its own.
pub(crate) enum Outcome {
    /// Exit status 0.
    Passed,
    /// Exit status 1: a gate failed.
    Failed,
    /// Exit status 2: a model could not be checked, which the report says.
    NotChecked,
}

impl Args {
    /// Parses the command line. An invalid one is written to the requested reports and ends the program with exit
    /// status 2.
    pub(crate) fn parse_or_report() -> Self {
        Args::try_parse().unwrap_or_else(|error| {
            let arguments: Vec<_> = std::env::args_os().skip(1).collect();
            let subcommand = arguments.first().is_some_and(|first| Args::command().find_subcommand(first).is_some());
            if error.use_stderr() && !subcommand {
                reports::report_usage_error(&arguments, &error.to_string());
            }
            error.exit()
        })
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    match &args.command {
        None => verify::run(&args.verify),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Reference(args)) => reference::run(args).map(|()| Outcome::Passed),
        Some(Command::HiddenStates(args)) => hidden_states::run(args).map(|()| Outcome::Passed),
    }
}

/// Prints to standard output; a reader that has gone (`… | head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(printable(text).as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Whether two paths lead to the same file, which exists and is an ordinary one.
fn same_file(a: &Path, b: &Path) -> bool {
    let resolve = |path: &Path| path.is_file().then(|| path.canonicalize().ok()).flatten();
    resolve(a).is_some_and(|a| resolve(b) == Some(a))
}

/// Refuses to replace an input, or any file without being told to; said before anything is computed.
fn check_output(output: &Path, force: bool, inputs: &[&Path]) -> anyhow::Result<()> {
    if inputs.iter().any(|input| same_file(output, input)) {
        bail!("{} is an input; give another output", output.display());
    }
    if output.exists() && !force {
        bail!("{} exists; give --force to replace it", output.display());
    }
    Ok(())
}
