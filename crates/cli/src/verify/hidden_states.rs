//! `mert-verify hidden-states`: writes the hidden states of a clip to a .npz file.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use mert_arch::LayerSelection;
use mert_cli::hub::Messages;
use mert_cli::terminal::print;
use mert_runtime::Model;
use mert_verify::candidate::{self, SafetensorsFile};
use mert_verify::npz;
use mert_verify::reference::HIDDEN_STATES_MARK;
use ndarray::{Axis, stack};

use crate::hub_inputs;

#[derive(Debug, Args)]
pub(crate) struct HiddenStatesArgs {
    /// The converted file, or a model of the hub that holds a converted model.safetensors
    model: PathBuf,
    /// The clip, .npy or .npz, exactly as it enters the model
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The .npz to write: input_values (N,), hidden_states (chosen, frames, width),
    /// candidate_layers (chosen,)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Which hidden states: all, 6, -1 (the last), 0,6,12 or 0-12
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerSelection,
    #[command(flatten)]
    compute: crate::args::ComputeArgs,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &HiddenStatesArgs) -> anyhow::Result<()> {
    crate::output::check_output(&args.output, args.force, &[&args.model, &args.input])?;
    let model = hub_inputs::converted(&args.model, Messages::of("mert-verify", false))?;
    let model = Model::open(&SafetensorsFile::path_of(&model)?, args.compute.dtype, &args.compute.device.open()?)?;
    let wanted = args.layers.resolve(model.config().num_hidden_states())?;
    let clip = npz::read_input_values(&args.input)?;
    let states = candidate::cumulative(&model, &clip, &wanted)?;
    let views: Vec<_> = wanted.iter().filter_map(|index| Some(states.get(index)?.view())).collect();
    let stacked = stack(Axis(0), &views).context("stacking the hidden states")?;
    let shape = stacked.shape().to_vec();
    let layers: Vec<f32> = wanted.iter().map(|&index| index as f32).collect();
    let arrays = [
        ("input_values", ndarray::Array1::from_vec(clip).into_dyn()),
        ("hidden_states", stacked.into_dyn()),
        (HIDDEN_STATES_MARK, ndarray::Array1::from_vec(layers).into_dyn()),
    ];
    npz::write(&args.output, &arrays)?;
    let [count, frames, width] = shape[..] else { return Err(anyhow!("hidden states of shape {shape:?}")) };
    Ok(print(&format!("{}: {count} hidden states of {frames} frames by {width}\n", args.output.display()))?)
}
