//! `mert-verify hidden-states`: writes the hidden states of a clip to a .npz file.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use mert_arch::LayerSelection;
use mert_cli::hub::Messages;
use mert_cli::terminal::print;
use mert_runtime::{ComputeType, ConvertedFile, Model};
use mert_verify::candidate::{converted_file, hidden_states};
use mert_verify::npz;
use mert_verify::reference::CANDIDATE_LAYERS;
use ndarray::{Axis, stack};

use crate::hub_inputs;
use crate::options::ComputeArgs;
use crate::output::check_output;

#[derive(Debug, Args)]
pub(crate) struct HiddenStatesArgs {
    /// The converted file, a folder with a model.safetensors, or a model of the hub that holds a converted
    /// model.safetensors (owner/name)
    model: PathBuf,
    /// The clip, .npy or .npz, exactly as it enters the model
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The .npz to write: input_values (N,), hidden_states (selected, frames, width),
    /// candidate_layers (selected,)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Hidden states to write: all, 6, -1 (the last), 0,6,12 or 0-12
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerSelection,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &HiddenStatesArgs) -> anyhow::Result<()> {
    check_output(&args.output, args.force, &[&args.model, &args.input])?;
    let model = hub_inputs::converted(&args.model, Messages::of("mert-verify", false))?;
    let file = ConvertedFile::open(&converted_file(&model)?)?;
    let model = Model::from_file(&file, args.compute.dtype(), &args.compute.device.open()?)?;
    let wanted = args.layers.resolve(model.config().num_hidden_states())?;
    let clip = npz::read_input_values(&args.input)?;
    let states = hidden_states(&model, &clip, &wanted)?;
    let views: Vec<_> = wanted.iter().filter_map(|index| Some(states.get(index)?.view())).collect();
    let stacked = stack(Axis(0), &views).context("stacking the hidden states")?;
    let shape = stacked.shape().to_vec();
    let layers: Vec<f32> = wanted.iter().map(|&index| index as f32).collect();
    let arrays = [
        ("input_values", ndarray::Array1::from_vec(clip).into_dyn()),
        ("hidden_states", stacked.into_dyn()),
        (CANDIDATE_LAYERS, ndarray::Array1::from_vec(layers).into_dyn()),
    ];
    npz::write(&args.output, &arrays)?;
    let [count, frames, width] = shape[..] else { return Err(anyhow!("hidden states of shape {shape:?}")) };
    let mut text = format!("{}: {count} hidden states of {frames} frames by {width}\n", args.output.display());
    if model.compute_type() == ComputeType::Int8 {
        text += &format!("{}\n", file.metadata().int8_note());
    }
    Ok(print(&text)?)
}
