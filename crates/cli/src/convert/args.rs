//! The options of `mert-convert`.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{ArgGroup, Parser, ValueEnum};
use mert_arch::{ConfigField, Dtype, LayerSelection, Layout};
use mert_convert::write::{ByteSize, CoreMlOptions, DeploymentTarget, InputLengths};
use mert_convert::{Compression, CompressionScheme, ConvertError, Program};

use crate::adapter_args::AdapterArgs;
use crate::musicgen_args::{ForProgram, MusicgenArgs};
use crate::quantize_args::QuantizeArgs;
use crate::values::one_of;

/// Converts a PyTorch checkpoint of MERT, HuBERT or a relative for MLX, candle, Core ML or another program, and MusicGen and
/// Instruct-MusicGen to bundles.
///
/// Weight norm is fused, Conv1d weights are transposed for the target, and every tensor of the checkpoint is accounted for.
/// Without OUTPUT, or with --dry-run, prints the plan and writes nothing. OUTPUT is written completely or not at all. Exit
/// status: 0 converted, 2 refused or failed, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "mert-convert", version)]
#[command(group = ArgGroup::new("quantizing").args(["quantize", "budget", "size"]).multiple(true))]
#[command(group = ArgGroup::new("goal").args(["budget", "size"]))]
#[command(group = ArgGroup::new("measured").args(["budget", "size", "int8_budget"]).multiple(true))]
pub(crate) struct Args {
    /// The checkpoint: a .bin, .pt, .ckpt or .safetensors file, a model folder, or a model of the Hugging Face hub
    /// (m-a-p/MERT-v1-95M, facebook/musicgen-small, hf://owner/name, owner/name@revision), which is downloaded to the hub's
    /// shared cache
    pub(super) input: PathBuf,
    /// The output: a file NAME.safetensors for MLX and candle, a file NAME.gguf for candle's quantized models, a package
    /// NAME.mlpackage for Core ML, or a folder NAME with the weights, config.json, preprocessor_config.json and a model card
    pub(super) output: Option<PathBuf>,
    /// The order of the axes of Conv1d weights: mlx is (out, kernel, in), candle is PyTorch's (out, in, kernel)
    /// [default: mlx; candle in GGUF; not for Core ML packages]
    #[arg(long, value_parser = one_of::<Layout>(vec!["mlx", "candle"]))]
    pub(super) layout: Option<Layout>,
    /// The program whose model class will load the output, which decides its names, layout and files: mlx-contentvec (a
    /// file), mlx-hubert or hf, which is transformers (a folder); for a MusicGen: mlx-examples (a folder) [default: a file for this
    /// toolkit]
    #[arg(long = "for", value_name = "PROGRAM", conflicts_with = "layout", value_parser = one_of::<ForProgram>(ForProgram::names()))]
    pub(super) program: Option<ForProgram>,
    /// The element type of the weights: f16, bf16 or f32. A Core ML package also computes in it and does not support bf16;
    /// mlx-contentvec has f32 only [default: f16; with --for: f32]
    #[arg(long)]
    pub(super) dtype: Option<Dtype>,
    /// The largest file of weights in a folder, such as 5GB, 500MB or 4GiB; larger weights are divided into several files with
    /// an index, model.safetensors.index.json [default: 5GiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) max_shard_size: Option<ByteSize>,
    /// The model's config.json [default: the one beside the checkpoint; without one, the architecture is inferred from the
    /// tensors' shapes]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A field of config.json to override, such as num_attention_heads=12, the only one of a MusicGen; also without a config.json.
    /// Repeatable
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(super) set: Vec<String>,
    /// The model's preprocessor_config.json, which describes its audio input [default: the one beside the checkpoint;
    /// without one, the model type's default, with a note]
    #[arg(long, value_name = "FILE")]
    pub(super) preprocessor: Option<PathBuf>,
    /// The sampling rate of the audio input; overrides the model's files
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1_000..=384_000))]
    pub(super) sampling_rate: Option<u32>,
    /// Whether the audio input is normalised to zero mean and unit variance; overrides the model's files
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set, num_args = 1)]
    pub(super) do_normalize: Option<bool>,
    /// The dictionary that holds the model (such as state_dict), if the checkpoint holds several
    #[arg(long, value_name = "NAME")]
    pub(super) key: Option<String>,
    /// The prefix of the model's tensor names (such as model.), if the checkpoint holds several models
    #[arg(long, value_name = "PREFIX")]
    pub(super) prefix: Option<String>,
    /// A head to keep beside the encoder: final_proj, through which mert-embed --project passes a hidden state as RVC's
    /// v1 voice models need it
    #[arg(long, value_name = "HEAD", value_enum)]
    pub(super) keep: Option<Head>,
    /// A tensor outside the encoder to leave out; a trailing * matches any ending. Repeatable
    #[arg(long, value_name = "NAME")]
    pub(super) drop: Vec<String>,
    /// The SHA-256 of the checkpoint, to be recorded without computing it, which halves the time. It must be verified
    /// already, because the licence of a known checkpoint depends on it
    #[arg(long, value_name = "HEX")]
    pub(super) source_sha256: Option<String>,
    /// The number of threads [default: one per processor]; the output does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Replace OUTPUT if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Print the plan and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the plan and the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Do not compare the hidden states of a folder's model with the checkpoint's for its model card, which takes a few seconds
    /// and the memory of the model in f32
    #[arg(long)]
    pub(super) no_fidelity: bool,
    /// Print only errors and, in one line, the assumptions that replace a missing config.json. Saves a third of the time,
    /// because the output's SHA-256 is not computed
    #[arg(long, short, conflicts_with = "json")]
    pub(super) quiet: bool,
    // Last: what follows would be listed under their headings.
    #[command(flatten)]
    pub(super) adapter: AdapterArgs,
    #[command(flatten)]
    pub(super) quantization: QuantizeArgs,
    #[command(flatten)]
    pub(super) coreml: CoreMlArgs,
    #[command(flatten)]
    pub(super) musicgen: MusicgenArgs,
}

impl Args {
    /// The fields of an encoder's configuration that `--set` gives.
    ///
    /// # Errors
    /// A value that is not FIELD=VALUE of such a field.
    pub(super) fn config_fields(&self) -> anyhow::Result<Vec<ConfigField>> {
        let parse = |text: &String| {
            let field = text.parse::<ConfigField>();
            field.map_err(|reason| anyhow!("invalid value '{text}' for --set: {reason}"))
        };
        self.set.iter().map(parse).collect()
    }

    /// The program for encoders that the output is for.
    pub(super) fn encoder_program(&self) -> Option<Program> {
        match self.program {
            Some(ForProgram::Encoder(program)) => Some(program),
            Some(ForProgram::MlxExamples) | None => None,
        }
    }
}

/// The values of `--keep`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Head {
    /// The linear layer of HuBERT and ContentVec after the encoder
    #[value(name = "final_proj")]
    FinalProj,
}

/// The options of Core ML packages.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Core ML packages")]
pub(super) struct CoreMlArgs {
    /// The length of the clips: one (30), a list (5,10,30) or a range (1-30). The Neural Engine is fastest with one length,
    /// still eligible with a list, and not used with a range [default: 30]
    #[arg(long)]
    pub(super) seconds: Option<InputLengths>,
    /// Also return the hidden states of every frame, as frame_hidden_states
    #[arg(long)]
    pub(super) frames: bool,
    /// The hidden states to return: all, 6, -1 (the last), 0,6,12 or 0-12; layers above the highest are left out
    /// [default: all]
    #[arg(long, allow_hyphen_values = true)]
    pub(super) layers: Option<LayerSelection>,
    /// The oldest system that the package must run on (ios15 is macOS 12, ios18 is macOS 15) [default: ios15]
    #[arg(long, value_name = "TARGET", value_parser = one_of::<DeploymentTarget>(DeploymentTarget::ALL.map(|target| target.name()).to_vec()))]
    pub(super) minimum_deployment: Option<DeploymentTarget>,
    /// Compress the linear layers as coremltools does, which computes in half precision all the same: int8 and uint8 (a scale
    /// for each output channel, from ios16 on), int4 and uint4 (for each block of a row, ios18), or a palette of 256, 64 or 16
    /// values for each weight (ios16)
    #[arg(long, value_name = "SCHEME", value_parser = one_of::<CompressionScheme>(CompressionScheme::ALL.map(CompressionScheme::name).to_vec()))]
    compress: Option<CompressionScheme>,
    /// The number of weights of a row that share a scale with --compress; blocks are for ios18 [default: 32 for int4 and uint4,
    /// a whole row for int8 and uint8]
    #[arg(long, value_name = "N", requires = "compress")]
    block_size: Option<usize>,
}

impl CoreMlArgs {
    /// The name of the first option that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--seconds", self.seconds.is_some()),
            ("--frames", self.frames),
            ("--layers", self.layers.is_some()),
            ("--minimum-deployment", self.minimum_deployment.is_some()),
            ("--compress", self.compress.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The compression of the weights.
    ///
    /// # Errors
    /// A block size that the scheme does not have.
    pub(super) fn compression(&self) -> Result<Option<Compression>, ConvertError> {
        self.compress.map(|scheme| Compression::new(scheme, self.block_size)).transpose()
    }

    /// The options of the package, with their defaults.
    pub(super) fn options(&self) -> CoreMlOptions {
        CoreMlOptions {
            lengths: self.seconds.clone().unwrap_or_default(),
            frames: self.frames,
            layers: self.layers.clone().unwrap_or_default(),
            minimum_deployment: self.minimum_deployment.unwrap_or_default(),
        }
    }
}
