//! `mert-generate`: writes a checkpoint with MERT's names and shapes and generated weights.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use mert_arch::Config;
use mert_testkit::{sharp_checkpoint, write_torch_zip};

/// Writes FOLDER/pytorch_model.bin and FOLDER/config.json: MERT-v1-95M's names and shapes (or those of
/// --config), generated weights, no licence attached.
#[derive(Parser)]
struct Args {
    /// The folder to write to; it is made if it does not exist
    folder: PathBuf,
    /// Another architecture
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The same seed gives the same file
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let config = match &args.config {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Config::from_json(&text).with_context(|| path.display().to_string())?
        }
        None => Config::mert_v1_95m(),
    };
    fs::create_dir_all(&args.folder)?;
    let tensors = sharp_checkpoint(&config, args.seed);
    let file = args.folder.join("pytorch_model.bin");
    write_torch_zip(&file, &tensors)?;
    fs::write(args.folder.join("config.json"), config.to_json() + "\n")?;
    let values: usize = tensors.iter().map(|(_, tensor)| tensor.values.len()).sum();
    writeln!(io::stdout(), "{}: {} tensors, {values} values", file.display(), tensors.len())?;
    Ok(())
}
