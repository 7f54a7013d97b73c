//! The command line of `mert-embed`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use mert_arch::LayerSelection;
use mert_audio::{Tail, WindowPolicy};
use mert_cli::embedding::{ArithmeticChoice, Damaged, RunArgs};
use mert_embed::{Normalization, Pool, Projection};
use mert_runtime::{ComputeType, DeviceKind};

/// Embeds audio files with a converted model of MERT, HuBERT or a related encoder.
///
/// Each file is decoded, mixed to mono, resampled to the model's rate, cut into windows, and each window is normalised
/// and embedded. A file that cannot be read is reported and left out. An interrupted run continues when the same
/// command is given again. Exit status: 0 all embedded, 1 some files left out, 2 nothing written, 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "mert-embed",
    version,
    override_usage = "mert-embed [OPTIONS] MODEL INPUT... --output FILE\n       \
                      mert-embed [OPTIONS] --model MODEL INPUT... --output FILE"
)]
pub(crate) struct Args {
    /// The model (unless --model or --config names it): a file that mert-convert wrote, a folder that holds it as
    /// model.safetensors, or a model of the hub (owner/name), which is converted to f16 once. Then the inputs: files,
    /// folders, or - for raw samples on standard input
    #[arg(value_name = "MODEL INPUT", required_unless_present_any = ["model", "config", "list"])]
    pub(super) arguments: Vec<PathBuf>,
    /// The model: a file, a folder or a model of the hub; all arguments are then inputs
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<PathBuf>,
    /// A file with a file or folder on each line, or a playlist (.m3u, .m3u8, .pls)
    #[arg(long, value_name = "FILE")]
    pub(super) list: Option<PathBuf>,
    /// The table to write: .npy, .npz, .safetensors, .parquet or .jsonl; with --per-file a folder
    #[arg(long, short, value_name = "FILE", required_unless_present = "dry_run")]
    pub(super) output: Option<PathBuf>,
    /// Write an array for each input instead of one table, NAME.npy in the folder that --output names
    #[arg(long, conflicts_with = "update")]
    pub(super) per_file: bool,
    /// The hidden states: 6, all, -1 (the last), 0,6,12 or 0-12. Hidden state 0 enters the first layer, hidden state 6
    /// is the output of layer 6 [default: 6]
    #[arg(long, allow_hyphen_values = true)]
    pub(super) layers: Option<LayerSelection>,
    /// The pooling of the frames of a window: mean, max, mean+std (twice as long), or none for a row per frame
    /// [default: mean]
    #[arg(long)]
    pub(super) pool: Option<Pool>,
    /// Pass the frames through the model's linear layer final_proj before they are pooled, as RVC's v1 voice models need
    /// them (with --layers 9 --pool none). The model must have been converted with --keep final_proj
    #[arg(long, value_name = "HEAD", value_enum)]
    pub(super) project: Option<Head>,
    /// The scaling of vectors
    #[arg(long, value_enum, default_value_t = Normalize::None)]
    pub(super) normalize: Normalize,
    /// The part of each track: whole, middle:30s, or sliding:5s/2.5s (length/hop)
    #[arg(long, default_value = "middle:30s")]
    pub(super) window: WindowPolicy,
    /// The remainder behind the last sliding window: align (one more window that ends with the track), keep (a shorter
    /// window, from a second on) or drop
    #[arg(long, default_value = "align")]
    pub(super) tail: Tail,
    /// Files that are damaged or end too early
    #[arg(long, value_enum, default_value_t = Damaged::Skip)]
    pub(super) damaged: Damaged,
    /// Decode formats that mert-embed does not support (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    pub(super) ffmpeg: bool,
    /// The rate of the samples on standard input, which are 32-bit little-endian floats of one channel
    #[arg(long, value_name = "HZ")]
    pub(super) input_rate: Option<u32>,
    /// The device that runs the model: cpu, metal (mps), cuda, or auto [default: cpu]
    #[arg(long)]
    pub(super) device: Option<DeviceKind>,
    /// The arithmetic: f32; on the CPU also bf16 or int8, where it has instructions for them; on a GPU f16 or bf16
    #[arg(long, default_value = "f32")]
    pub(super) dtype: ComputeType,
    /// Compute on the CPU in the fastest of int8, bf16 and f32 that keeps the embeddings of this model: pooled cosine above 0.999
    /// and no frame below 0.99 on a generated clip, measured once and remembered
    #[arg(long, conflicts_with = "dtype")]
    pub(super) fast: bool,
    /// A YAML file with feature_extraction.mert.{model_name, layer, aggregation, device}, and with encoder: wav2vec or
    /// hybrid the same under wav2vec; options on the command line take precedence
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Add new files to the output, and embed files again whose size or time has changed; rows of other files stay
    #[arg(long, conflicts_with = "force")]
    pub(super) update: bool,
    /// List the inputs with format and length, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

impl Args {
    /// The arithmetic that is asked for.
    pub(super) fn arithmetic(&self) -> ArithmeticChoice {
        if self.fast { ArithmeticChoice::Fastest } else { ArithmeticChoice::As(self.dtype) }
    }
}

/// The values of `--project`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Head {
    /// The linear layer of HuBERT and ContentVec after the encoder
    #[value(name = "final_proj")]
    FinalProj,
}

impl From<Head> for Projection {
    fn from(head: Head) -> Self {
        match head {
            Head::FinalProj => Projection::FinalProj,
        }
    }
}

/// The values of `--normalize`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Normalize {
    /// Scale each vector to length 1
    L2,
    /// Do not scale
    None,
}

impl From<Normalize> for Normalization {
    fn from(normalize: Normalize) -> Self {
        match normalize {
            Normalize::L2 => Normalization::L2,
            Normalize::None => Normalization::None,
        }
    }
}
