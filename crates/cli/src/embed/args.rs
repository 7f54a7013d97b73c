//! The command line of `mert-embed`.

use std::path::PathBuf;

use clap::Parser;
use mert_arch::LayerSelection;
use mert_audio::{Tail, WindowPolicy};
use mert_embed::Pool;
use mert_runtime::{DeviceKind, Dtype};

/// Embeds audio files with a converted MERT or HuBERT model.
///
/// Each file is decoded, mixed to mono, resampled to the model's rate, cut into windows, and each window
/// normalised and embedded. A file that cannot be read is reported and left out. An interrupted run continues when the
/// same command is given again. Exit status: 0 all embedded, 1 some files left out, 2 nothing written, 130 interrupted.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The model that mert-convert wrote (unless --model or --config names it), then what to embed: files, folders,
    /// or - for raw samples on standard input
    #[arg(value_name = "MODEL] [INPUT")]
    pub(super) arguments: Vec<PathBuf>,
    /// The model; then all arguments are inputs
    #[arg(long, value_name = "FILE")]
    pub(super) model: Option<PathBuf>,
    /// A file that names files and folders, one on each line, or a playlist (.m3u, .m3u8, .pls)
    #[arg(long, value_name = "FILE")]
    pub(super) list: Option<PathBuf>,
    /// What to write: .npy, .npz, .safetensors, .parquet or .jsonl
    #[arg(long, short, value_name = "FILE", required_unless_present = "dry_run")]
    pub(super) output: Option<PathBuf>,
    /// The hidden states: 6, all, -1 (the last), 0,6,12 or 0-12. Hidden state 0 enters the first layer, hidden state 6 is
    /// the output of layer 6 [default: 6]
    #[arg(long, allow_hyphen_values = true)]
    pub(super) layers: Option<LayerSelection>,
    /// How the frames of a window become a vector: mean, max, mean+std (twice as long), or none for a row for each
    /// frame [default: mean]
    #[arg(long)]
    pub(super) pool: Option<Pool>,
    /// Scale each vector: l2 for a length of 1
    #[arg(long, default_value = "none", value_parser = ["l2", "none"])]
    pub(super) normalize: String,
    /// Which part of a track: whole, middle:30s, or sliding:5s/2.5s (length/hop)
    #[arg(long, default_value = "middle:30s")]
    pub(super) window: WindowPolicy,
    /// The remainder that sliding windows leave: align (one more window that ends with the track), keep (a shorter
    /// one, from a second on) or drop
    #[arg(long, default_value = "align")]
    pub(super) tail: Tail,
    /// Files that are damaged or end too early: skip, or keep what can be decoded
    #[arg(long, default_value = "skip", value_parser = ["skip", "keep"])]
    pub(super) damaged: String,
    /// Decode what mert-embed does not read itself (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    pub(super) ffmpeg: bool,
    /// The rate of the samples on standard input, which are 32-bit little-endian floats of one channel
    #[arg(long, value_name = "HZ")]
    pub(super) input_rate: Option<u32>,
    /// The device that runs the model: cpu, metal (mps), cuda, or auto [default: cpu]
    #[arg(long)]
    pub(super) device: Option<DeviceKind>,
    /// The arithmetic: f32, or on a GPU f16 or bf16
    #[arg(long, default_value = "f32")]
    pub(super) dtype: Dtype,
    /// How many threads decode [default: one for each processor, at most 4]; the model runs on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) jobs: Option<u16>,
    /// A YAML file with feature_extraction.mert.{model_name, layer, aggregation, device}; options given here win
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Stop at the first file that cannot be embedded, and write nothing
    #[arg(long)]
    pub(super) strict: bool,
    /// Add to the output what is new, and embed again what has changed by its size or time; rows of other files stay
    #[arg(long, conflicts_with = "force")]
    pub(super) update: bool,
    /// List what would be embedded, with its format and length, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write a line of JSON for each file that could not be embedded: its name, a reason and the message
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Discard what an interrupted run left, instead of continuing it
    #[arg(long)]
    pub(super) restart: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(super) quiet: bool,
}
