//! `mert-tokens import`: a vocabulary of another program, with the record of the model and windows that it is for.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use mert_audio::Seconds;
use mert_cli::embedding::interrupt::while_writing;
use mert_cli::terminal::{Exit, say};
use mert_table::printable_path;
use mert_tokens::frames::Keep;
use mert_tokens::vocabulary::Normalize;

use crate::encode::Stated;
use crate::run_args::ModelArgs;

/// Writes a vocabulary of another program (.npy, a joblib or pickle file of scikit-learn, an index of faiss) as a vocabulary
/// of this one, with what its file does not say: the model, the hidden state and the windows. Nothing in a pickle is executed.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file that mert-convert wrote, a folder with it, or a model of the hub (owner/name)
    model: PathBuf,
    /// The vocabulary of another program
    vocabulary: PathBuf,
    /// The vocabulary to write, .safetensors
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The hidden state: 0 enters the first layer, -1 is the last
    #[arg(long, value_name = "STATE")]
    layer: i64,
    /// The length of a window
    #[arg(long, value_name = "TIME", default_value = "2s")]
    window: Seconds,
    /// The time from a window to the next
    #[arg(long, value_name = "TIME", default_value = "1s")]
    hop: Seconds,
    /// The hop of a window that is kept: newest, middle, or the time that follows it
    #[arg(long, value_name = "PART", default_value = "newest")]
    keep: Keep,
    /// The scaling of frames before the centres: none or l2 [default: what the file says, else none]
    #[arg(long)]
    normalize: Option<Normalize>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    options: ModelArgs,
}

/// Runs the subcommand.
pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<Exit> {
    let is_safetensors = args.output.extension().is_some_and(|extension| extension == "safetensors");
    ensure!(is_safetensors, "{}: name the output .safetensors", printable_path(&args.output));
    ensure!(args.force || !args.output.exists(), mert_fs::FsError::OutputExists { path: args.output.clone() });
    let stated = Stated {
        layer: Some(args.layer),
        window: Some(args.window),
        hop: Some(args.hop),
        keep: Some(args.keep),
        normalize: args.normalize,
    };
    let opened = stated.open(&args.model, &args.vocabulary, &args.options)?;
    let vocabulary = opened.tokenizer.vocabulary();
    while_writing(|| vocabulary.write(&args.output, args.force))?;
    if !args.options.quiet {
        say(&format!(
            "{}: {} tokens of hidden state {}",
            printable_path(&args.output),
            vocabulary.k(),
            opened.encoder.layer()
        ));
    }
    Ok(Exit::Success)
}
