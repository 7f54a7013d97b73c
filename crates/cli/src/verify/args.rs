//! The options of `mert-verify`: the gate's own, and the subcommands.

use clap::{CommandFactory, Parser, Subcommand};
use mert_arch::Dtype;
use mert_runtime::DeviceKind;

use crate::{bench, hidden_states, reference, reports, verify};

/// Verifies that a converted MERT or HuBERT model still computes what PyTorch computes.
///
/// Without MODEL the built-in fixture is run. Exit status: 0 passed or done, 1 the gate failed, 2 could
/// not be checked or done.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) verify: verify::VerifyArgs,
}

/// Where and in which arithmetic a subcommand runs a model.
#[derive(Debug, clap::Args)]
pub(super) struct ComputeArgs {
    /// The device that runs the model: cpu, metal (mps), cuda or auto
    #[arg(long, default_value = "cpu")]
    pub(super) device: DeviceKind,
    /// The element type in which the model computes: f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    pub(super) dtype: Dtype,
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
