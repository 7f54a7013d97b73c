//! The options of `mert-convert`.

use std::path::PathBuf;

use clap::Parser;
use mert_arch::{ConfigField, Dtype, LayerSelection, Layout};
use mert_convert::write::{CoreMlOptions, DeploymentTarget, InputLengths};

/// Converts a PyTorch checkpoint of MERT or HuBERT for MLX, candle and Core ML.
///
/// Weight norm is fused, Conv1d weights are laid out for the target, and every tensor of the
/// checkpoint is accounted for. Without OUTPUT, or with --dry-run, the plan is printed and nothing is
/// written. Exit status: 0 done, 2 refused, 130 interrupted. OUTPUT appears whole or not at all.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The checkpoint: a .bin, .pt, .ckpt or .safetensors file, a model folder, or a model of the Hugging Face hub
    /// (m-a-p/MERT-v1-95M, hf://owner/name, owner/name@revision), which is downloaded to the hub's shared cache
    pub(super) input: PathBuf,
    /// What to write: a file for MLX and candle whose name ends in .safetensors, or a Core ML package whose name
    /// ends in .mlpackage
    pub(super) output: Option<PathBuf>,
    /// How Conv1d weights are ordered: mlx is (out, kernel, in), candle is PyTorch's (out, in, kernel)
    /// [default: mlx; a Core ML package leaves no choice]
    #[arg(long)]
    pub(super) layout: Option<Layout>,
    /// The element type to write: f16, bf16 or f32; a Core ML package computes in it, too, and has no bf16
    #[arg(long, default_value = "f16")]
    pub(super) dtype: Dtype,
    /// The model's config.json [default: the one beside the checkpoint; else the architecture is worked
    /// out from the tensors' shapes]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A field of config.json that overrides the file's or replaces a missing file's, such as num_attention_heads=12
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(super) set: Vec<ConfigField>,
    /// The model's preprocessor_config.json, which states its audio input [default: the one beside the checkpoint; else
    /// the model type's default, with a note]
    #[arg(long, value_name = "FILE")]
    pub(super) preprocessor: Option<PathBuf>,
    /// Samples per second of the audio input; overrides the model's files
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1_000..=384_000))]
    pub(super) sampling_rate: Option<u32>,
    /// Whether windows are normalised to zero mean and unit variance; overrides the model's files
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set, num_args = 1)]
    pub(super) do_normalize: Option<bool>,
    /// The dictionary that holds the model, where the checkpoint holds several (such as `state_dict`)
    #[arg(long, value_name = "NAME")]
    pub(super) key: Option<String>,
    /// What precedes the Hugging Face names, where the checkpoint holds several models (such as `model.`)
    #[arg(long, value_name = "PREFIX")]
    pub(super) prefix: Option<String>,
    /// A tensor to leave out because it is not part of the encoder; a trailing * matches any ending. Nothing inside the
    /// encoder can be left out
    #[arg(long, value_name = "NAME")]
    pub(super) drop: Vec<String>,
    /// Record this SHA-256 of the checkpoint, which you have just checked, instead of computing it: half the
    /// time. It is taken at your word, and with it the licence that goes with a known checkpoint
    #[arg(long, value_name = "HEX")]
    pub(super) source_sha256: Option<String>,
    /// How many threads to use [default: one for each processor]; the output does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Replace OUTPUT if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Print the plan and stop
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the plan and the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors and, in one line, what was assumed without a config.json; the output's SHA-256 is then not computed, which saves a third of the time
    #[arg(long, short, conflicts_with = "json")]
    pub(super) quiet: bool,
    // Last: what follows would be listed under its heading.
    #[command(flatten)]
    pub(super) coreml: CoreMlArgs,
}

/// What only a Core ML package has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Core ML packages")]
pub(super) struct CoreMlArgs {
    /// The length of clip that it takes: 30, or a list (5,10,30), or a range (1-30). One length is best for the
    /// Neural Engine, a list keeps it eligible, a range does not [default: 30]
    #[arg(long)]
    pub(super) seconds: Option<InputLengths>,
    /// Return every frame's hidden states as well, `frame_hidden_states`
    #[arg(long)]
    pub(super) frames: bool,
    /// Which hidden states to return: all, 6, -1 (the last), 0,6,12 or 0-12; layers above the highest are left out
    /// [default: all]
    #[arg(long, allow_hyphen_values = true)]
    pub(super) layers: Option<LayerSelection>,
    /// The oldest system that is to run it: ios15, ios16, ios17 or ios18 (macOS 12 to 15) [default: ios15]
    #[arg(long, value_name = "TARGET")]
    pub(super) minimum_deployment: Option<DeploymentTarget>,
}

impl CoreMlArgs {
    /// The first option given, by its name.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--seconds", self.seconds.is_some()),
            ("--frames", self.frames),
            ("--layers", self.layers.is_some()),
            ("--minimum-deployment", self.minimum_deployment.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    pub(super) fn options(&self) -> CoreMlOptions {
        CoreMlOptions {
            lengths: self.seconds.clone().unwrap_or_default(),
            frames: self.frames,
            layers: self.layers.clone().unwrap_or_default(),
            minimum_deployment: self.minimum_deployment.unwrap_or_default(),
        }
    }
}
