//! The command line of `mert-verify`: the gate's options, and the subcommands.

use clap::{CommandFactory, Parser, Subcommand};
use mert_cli::command_line;

use crate::{bench, gate, hidden_states, reference, reports};

/// Verifies that a converted model of MERT, HuBERT or a related encoder, or a bundle of MusicGen, still computes what PyTorch
/// computes.
///
/// A bundle of MusicGen takes --reference, --against, --max-kl, --allow-missing, --layers and the reports; all other options are
/// for encoders. docs/instruct-musicgen.md lists the arrays of its references.
///
/// Without MODEL the built-in fixture is run. Exit status: 0 passed or done, 1 the gate failed, 2 could
/// not be checked or done, 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "mert-verify",
    version,
    args_conflicts_with_subcommands = true,
    override_usage = "mert-verify [OPTIONS] [MODEL]\n       mert-verify [OPTIONS] --config <FILE>\n       mert-verify \
                      <COMMAND>"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) gate: gate::GateArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Time the forward pass
    Bench(bench::BenchArgs),
    /// Compute a reference .npz from an original checkpoint with libtorch (feature `tch`)
    Reference(reference::ReferenceArgs),
    /// Write a model's hidden states to a .npz
    HiddenStates(hidden_states::HiddenStatesArgs),
}

impl Args {
    /// Parses the command line. An invalid one is written to the requested reports and ends the program with exit
    /// status 2.
    pub(crate) fn parse_or_report() -> Self {
        command_line::try_parse::<Args>().unwrap_or_else(|error| {
            let arguments: Vec<_> = std::env::args_os().skip(1).collect();
            let subcommand = arguments.first().is_some_and(|first| Args::command().find_subcommand(first).is_some());
            if error.use_stderr() && !subcommand {
                reports::report_usage_error(&arguments, &error.to_string());
            }
            error.exit()
        })
    }
}
