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
    /// A converted file, or a folder with a model.safetensors, whose weights are quantized: the hidden states are also written
    /// with weights quantized as its metadata says. The file's own weights are not used
    #[arg(long, value_name = "MODEL")]
    like: Vec<PathBuf>,
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
    use mert_verify::candidate::converted_encoding;
    use mert_verify::reference::libtorch::Libtorch;

    let inputs: Vec<&std::path::Path> =
        [&args.checkpoint, &args.input].into_iter().chain(&args.like).map(PathBuf::as_path).collect();
    crate::output::check_output(&args.output, args.force, &inputs)?;
    let encodings = args.like.iter().map(|path| converted_encoding(path)).collect::<Result<Vec<_>, _>>()?;
    let clip = mert_verify::npz::read_input_values(&args.input)?;
    let checkpoint = crate::hub_inputs::original(&args.checkpoint, mert_cli::hub::Messages::of("mert-verify", false))?;
    let libtorch = Libtorch::open(&checkpoint, args.checkpoint_config.as_deref())?;
    let mut reference = libtorch.reference(&args.input.display().to_string(), &clip, &[Dtype::F16, Dtype::Bf16])?;
    libtorch.add_encodings(&mut reference, &encodings)?;
    reference.write(&args.output)?;
    let (states, frames, width) = reference.hidden_states.dim();
    let quantized: String = reference.quantized.keys().map(|name| format!(", {name}")).collect();
    Ok(print(&format!(
        "{}: {states} hidden states of {frames} frames by {width}, also with f16 and bf16 weights{quantized}\n",
        args.output.display()
    ))?)
}
