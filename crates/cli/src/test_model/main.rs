//! `mert-test-model`: writes a checkpoint of any family with generated weights, for tests and demos.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser;
use mert_arch::{CONFIG_FILE, Config, ModelConfig, printable_line};
use mert_cli::command_line;
use mert_cli::terminal::{Exit, exit_on_signal, print, say};
use mert_fs::{AtomicFile, FsError, is_same_file, remove_temporaries};
use mert_testkit::{sharp_checkpoint, write_torch_zip_to};

/// The stem of the checkpoint's name, which is also the folder in its zip archive.
const WEIGHTS: &str = "pytorch_model";

/// Writes a checkpoint with generated weights, for tests and demos: FOLDER/pytorch_model.bin and FOLDER/config.json.
///
/// The tensors have the names and shapes of MERT-v1-95M, or those that --family or --config imply. No licence is attached to them.
/// The same seed gives the same files. Exit status: 0 written, 2 refused or failed, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "mert-test-model", version)]
struct Args {
    /// The folder to write to; created if missing
    folder: PathBuf,
    /// A config.json with the architecture [default: MERT-v1-95M's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The family, by its `model_type`, with the default sizes of its class in transformers: those of its base model
    #[arg(long, value_name = "MODEL_TYPE", value_parser = family, conflicts_with = "config")]
    family: Option<ModelConfig>,
    /// The seed of the generated weights
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
    /// Replace the files if they exist
    #[arg(long)]
    force: bool,
}

fn family(model_type: &str) -> Result<ModelConfig, String> {
    ModelConfig::of_type(model_type).ok_or_else(|| {
        let known = ModelConfig::all().map(|family| family.names().model_type);
        format!("expected {}", known.join(", "))
    })
}

fn main() -> ExitCode {
    let args = command_line::parse::<Args>();
    exit_on_signal();
    match run(&args) {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            // The error may be that the signal handler has removed the temporary files; that must finish first.
            remove_temporaries(|| ());
            say(&format!("mert-test-model: {error}"));
            Exit::Error.into()
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let config = match (&args.config, &args.family) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
            Config::from_json(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?
        }
        (None, Some(ModelConfig::Mert) | None) => Config::mert_v1_95m(),
        (None, Some(family)) => family.default_config(),
    };
    let (weights_path, config_path) = (args.folder.join(format!("{WEIGHTS}.bin")), args.folder.join(CONFIG_FILE));
    for path in [&weights_path, &config_path] {
        if args.config.as_ref().is_some_and(|config| is_same_file(config, path)) {
            return Err(FsError::OutputIsInput { path: path.clone() }.into());
        }
    }
    fs::create_dir_all(&args.folder).map_err(|source| FsError::write(&args.folder, source))?;
    let mut weights_file = AtomicFile::create(&weights_path, args.force)?;
    let config_file = AtomicFile::create(&config_path, args.force)?;
    let tensors = sharp_checkpoint(&config, args.seed);
    write_torch_zip_to(weights_file.file_mut(), WEIGHTS, &tensors)
        .map_err(|source| FsError::write(&weights_path, source))?;
    fs::write(config_file.temporary_path(), config.to_json() + "\n")
        .map_err(|source| FsError::write(&config_path, source))?;
    // The configuration first: weights without one would be taken for a model of another architecture.
    config_file.commit()?;
    weights_file.commit()?;
    let values: usize = tensors.iter().map(|(_, tensor)| tensor.values.len()).sum();
    let path = printable_line(&weights_path.display().to_string());
    print(&format!("{path}: {} tensors, {values} values\n", tensors.len()))?;
    Ok(())
}
