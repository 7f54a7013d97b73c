//! The command line of `mert-tokens train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mert_audio::Seconds;
use mert_tokens::frames::Keep;

use crate::run_args::RunArgs;

/// Finds a vocabulary: the centres of the frames of music in one hidden state, by k-means.
///
/// Windows are taken evenly from all files, some files are held out to judge the result, and what the tokens depend on is
/// written into the vocabulary. An interrupted training continues when the same command is given again. The same files,
/// options and seed give the same bytes. Exit status: 0 done, 1 some files left out, 2 nothing written, 130 interrupted.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The model (unless --features or --config replaces it), a file that mert-convert wrote, a folder with it, or a model
    /// of the hub; then the music, files and folders
    #[arg(value_name = "MODEL INPUT", required_unless_present_any = ["features", "config", "list"])]
    pub(super) arguments: Vec<PathBuf>,
    /// The vocabulary to write: .safetensors, or .npy for the centres alone
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// The number of tokens [default: 2048]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) k: Option<u32>,
    /// The hidden state: 0 enters the first layer, -1 is the last [default: -1]
    #[arg(long, value_name = "STATE")]
    pub(super) layer: Option<i64>,
    /// The length of a window in which a frame is computed; live sound has windows of the same length
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(super) window: Seconds,
    /// The time from a window to the next, in whole frames of the model; other times are rounded
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(super) hop: Seconds,
    /// The hop of a window that is kept: newest, middle, or the time that follows it, such as 400ms; live sound waits for it
    #[arg(long, value_name = "PART", default_value = "newest")]
    pub(super) keep: Keep,
    /// The scaling of frames: none, or l2 (to length 1) [default: none]
    #[arg(long, value_enum)]
    pub(super) normalize: Option<NormalizeArg>,
    /// The seed of all that is drawn [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// The most frames, taken evenly from all files in whole hops, which may exceed it [default: 256 for each token]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) frames: Option<u64>,
    /// The share of the files that only judge the result, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    pub(super) held_out: f64,
    /// The most passes over the frames [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) passes: Option<u32>,
    /// The movement of the centres at which the passes end, as scikit-learn's tol
    #[arg(long, value_name = "SHARE", default_value = "1e-4", value_parser = tolerance)]
    pub(super) tolerance: f64,
    /// Draw batches of this many frames instead of passes over all of them: for more frames than a machine can pass over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) batch: Option<u32>,
    /// The batches without gain after which --batch ends
    #[arg(long, value_name = "N", default_value = "100", requires = "batch")]
    pub(super) patience: usize,
    /// The share of the largest token's frames below which --batch replaces a centre by a random frame
    #[arg(long, value_name = "SHARE", default_value = "0.01", requires = "batch", value_parser = share)]
    pub(super) reassignment: f64,
    /// Start from the centres of another vocabulary of the same width, instead of k-means++
    #[arg(long, value_name = "VOCABULARY")]
    pub(super) start: Option<PathBuf>,
    /// Frames that are computed already: .npy files (frames, width); no model then, and every argument is one of them
    #[arg(long, conflicts_with_all = ["list", "config"])]
    pub(super) features: bool,
    /// A YAML file with feature_extraction.mert.{model_name, layer, device} and quantization.{method, n_clusters,
    /// distance_metric, random_state, max_iter}; options on the command line take precedence
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Discard the frames and centres of an interrupted training, instead of continuing it
    #[arg(long)]
    pub(super) restart: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Print the figures as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// The values of `--normalize`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum NormalizeArg {
    /// As they are
    None,
    /// To length 1
    L2,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=0.5).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 0.5".into()),
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(tolerance) if (0.0..1.0).contains(&tolerance) => Ok(tolerance),
        _ => Err("expected a number from 0 to 1".into()),
    }
}
