//! `mert-verify reference`: writes the hidden states that libtorch computes from an original checkpoint to a .npz file.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// The original checkpoint, a file or a model of the hub
    checkpoint: PathBuf,
    /// The clip, .npy or .npz, exactly as it enters the model
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The .npz to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The original's config.json [default: the one beside it]
    #[arg(long, value_name = "FILE")]
    checkpoint_config: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
}

#[cfg(not(feature = "tch"))]
pub(crate) fn run(_: &ReferenceArgs) -> anyhow::Result<()> {
    Err(mert_verify::VerifyError::NoLibtorch("mert-verify reference").into())
}

#[cfg(feature = "tch")]
pub(crate) fn run(args: &ReferenceArgs) -> anyhow::Result<()> {
    use mert_arch::Dtype;
    use mert_cli::terminal::print;
    use mert_verify::reference::libtorch::Libtorch;

    crate::output::check_output(&args.output, args.force, &[&args.checkpoint, &args.input])?;
    let clip = mert_verify::npz::read_input_values(&args.input)?;
    let checkpoint = crate::hub_inputs::original(&args.checkpoint, mert_cli::hub::Messages::of("mert-verify", false))?;
    let libtorch = Libtorch::open(&checkpoint, args.checkpoint_config.as_deref())?;
    let reference = libtorch.reference(&args.input.display().to_string(), &clip, &[Dtype::F16, Dtype::Bf16])?;
    reference.write(&args.output)?;
    let (states, frames, width) = reference.hidden_states.dim();
    Ok(print(&format!(
        "{}: {states} hidden states of {frames} frames by {width}, also with f16 and bf16 weights\n",
        args.output.display()
    ))?)
}
