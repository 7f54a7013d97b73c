use std::io::{IsTerminal, Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use clap::Parser;
use mert_audio::{Damage, Tail, WindowPolicy};
use mert_embed::inputs::{self, Input};
use mert_embed::{
    EmbedConfig, EmbedError, Embedder, Event, Journal, ModelFile, Pool, Provenance, Reading, Summary, output,
    parse_device, run as embed,
};
use mert_runtime::{ComputeDtype, ConvertedFile, DeviceKind, Model};
use mert_spec::LayerSelection;
use sha2::{Digest, Sha256};

use crate::progress::Progress;

/// Embeds audio files with a converted MERT or HuBERT model.
///
/// Each file is decoded, mixed to mono, resampled to the model's rate, cut into windows, and each window
/// normalised and embedded. A file that cannot be read is reported and left out. An interrupted run goes on where
/// it was when the same command is given again. Exit status: 0 all embedded, 1 some files left out, 2 nothing
/// written, 130 interrupted.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The model that mert-convert wrote (unless --model or --config names it), then what to embed: files, folders,
    /// or - for raw samples on standard input
    #[arg(value_name = "MODEL] [INPUT")]
    arguments: Vec<PathBuf>,
    /// The model; then all arguments are inputs
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// A file that names files and folders, one on each line, or a playlist (.m3u, .m3u8)
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// What to write: .npy, .npz, .safetensors, .parquet or .jsonl
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The hidden states: 6, all, 0,6,12 or 0-12. Hidden state 0 enters the first layer, hidden state 6 is the output
    /// of layer 6 [default: 6]
    #[arg(long)]
    layers: Option<LayerSelection>,
    /// How the frames of a window become a vector: mean, max, mean+std (twice as long), or none for a row for each
    /// frame [default: mean]
    #[arg(long)]
    pool: Option<Pool>,
    /// Scale each vector: l2 for a length of 1
    #[arg(long, default_value = "none", value_parser = ["l2", "none"])]
    normalize: String,
    /// Which part of a track: whole, middle:30s, or sliding:5s/2.5s (length/hop)
    #[arg(long, default_value = "middle:30s")]
    window: WindowPolicy,
    /// The remainder that sliding windows leave: align (one more window that ends with the track), keep (a shorter
    /// one, from a second on) or drop
    #[arg(long, default_value = "align")]
    tail: Tail,
    /// Files that are damaged or end too early: skip, or keep what can be decoded
    #[arg(long, default_value = "skip", value_parser = ["skip", "keep"])]
    damaged: String,
    /// Decode what mert-embed does not read itself (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    ffmpeg: bool,
    /// The rate of the samples on standard input, which are 32-bit little-endian floats of one channel
    #[arg(long, value_name = "HZ")]
    input_rate: Option<u32>,
    /// Where the model runs: cpu, metal, cuda, or auto [default: cpu]
    #[arg(long, value_parser = parse_device)]
    device: Option<DeviceKind>,
    /// The arithmetic: f32, or on a GPU f16 or bf16
    #[arg(long, default_value = "f32")]
    dtype: ComputeDtype,
    /// How many threads decode [default: one for each processor, at most 4]; the model runs on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// A YAML file with feature_extraction.mert.{model_name, layer, aggregation, device}; options given here win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop at the first file that cannot be embedded, and write nothing
    #[arg(long)]
    strict: bool,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Drop what an interrupted run left, instead of going on from it
    #[arg(long)]
    restart: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// Set by a signal, and by --strict.
static STOP: AtomicBool = AtomicBool::new(false);

/// While files are embedded a run may end at any moment: what is finished is in the journal.
static EMBEDDING: AtomicBool = AtomicBool::new(false);

/// Ends the run after the window that is being embedded; a second signal ends it at once, and so does a window that takes
/// long, or standard input that says nothing.
pub(crate) fn interrupt() {
    const PATIENCE: Duration = Duration::from_secs(2);
    if !STOP.swap(true, Ordering::Relaxed) {
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            if EMBEDDING.load(Ordering::Relaxed) {
                say("interrupted: the same command goes on from the files that are finished");
                std::process::exit(130);
            }
        });
        return;
    }
    std::process::exit(130);
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(EmbedConfig::read).transpose()?.unwrap_or_default();
    let config_path = args.config.as_deref().unwrap_or(Path::new(""));
    let (model_path, paths) = model_and_inputs(args, &config)?;
    let written = check_output(args)?;
    let reading = Reading {
        window: args.window,
        tail: args.tail,
        damage: if args.damaged == "keep" { Damage::Keep } else { Damage::Refuse },
        ffmpeg: args.ffmpeg.then(mert_audio::ffmpeg_version).transpose()?,
        input_rate: args.input_rate,
    };
    let inputs = inputs::collect(&paths, args.list.as_deref())?;
    let read = inputs.iter().map(|input| &input.path).chain([&model_path]).chain(&args.list).chain(&args.config);
    refuse_overwriting(&written, read)?;
    check_stdin(&inputs, &reading)?;

    let kind = match (args.device, &config.device) {
        (Some(kind), _) => kind,
        (None, Some(name)) => parse_device(name).map_err(|reason| EmbedError::Config {
            path: config_path.to_path_buf(),
            reason: format!("device: {reason}"),
        })?,
        (None, None) => DeviceKind::Cpu,
    };
    let (model, file) = open_model(&model_path, args.dtype, kind)?;
    let layers = match &args.layers {
        Some(layers) => Some(layers.clone()),
        None => config.layers(model.config().num_hidden_states(), config_path)?,
    };
    let layers = layers.unwrap_or_else(|| LayerSelection::Some([6].into()));
    let pool = match args.pool {
        Some(pool) => pool,
        None => config.pool(config_path)?.unwrap_or_default(),
    };
    let embedder = Embedder::new(model, &layers, pool, args.normalize == "l2")?;
    let settings = Provenance::new(&embedder, &reading, &file, format!("{} on {kind}", args.dtype));
    let report = Report { quiet: args.quiet };
    if !config.unknown.is_empty() {
        let keys: Vec<&str> = config.unknown.keys().map(String::as_str).collect();
        report.note(&format!("{}: not used: {}", config_path.display(), keys.join(", ")));
    }

    let mut journal = Journal::open(&args.output, &settings, args.restart)?;
    let summary = embed_inputs(args, &inputs, &embedder, &reading, &mut journal)?;
    finish(args, &settings, &inputs, journal, &report, summary)
}

/// The model, and what is to be embedded.
fn model_and_inputs(args: &Args, config: &EmbedConfig) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let named = args.model.clone().or_else(|| config.model_name.as_ref().map(PathBuf::from));
    let (model, inputs) = match (named, args.arguments.split_first()) {
        (Some(model), _) => (model, args.arguments.clone()),
        (None, Some((model, inputs))) => (model.clone(), inputs.to_vec()),
        (None, None) => bail!("name the model: mert-embed MODEL FILES -o OUTPUT"),
    };
    if !model.exists() && model.extension().is_none_or(|extension| extension != "safetensors") {
        let name = model.display();
        bail!(
            "{name} is no file here. If it is a model of the hub, convert it first, `mert-convert {name} \
             model.safetensors`, and give --model model.safetensors"
        );
    }
    Ok((model, inputs))
}

/// The files that will be written; none of them is there yet, or may be replaced.
fn check_output(args: &Args) -> Result<Vec<PathBuf>, EmbedError> {
    let mut written = vec![args.output.clone()];
    if output::Format::of(&args.output)? == output::Format::Npy {
        written.push(output::rows_file(&args.output));
    }
    match written.iter().find(|path| path.is_dir() || path.exists() && !args.force) {
        Some(path) if path.is_dir() => {
            Err(EmbedError::Write { path: path.clone(), source: std::io::ErrorKind::IsADirectory.into() })
        }
        Some(path) => Err(EmbedError::OutputExists { path: path.clone() }),
        None => Ok(written),
    }
}

/// An output that would replace an input is a slip on the command line.
fn refuse_overwriting<'a>(written: &[PathBuf], mut read: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<()> {
    let resolved: Vec<PathBuf> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
    match read.find(|path| path.canonicalize().is_ok_and(|path| resolved.contains(&path))) {
        Some(path) => bail!("{} is an input: give the output another name", path.display()),
        None => Ok(()),
    }
}

fn check_stdin(inputs: &[Input], reading: &Reading) -> anyhow::Result<()> {
    let has_stdin = inputs.iter().any(Input::is_stdin);
    match reading.input_rate {
        None if has_stdin => {
            bail!("samples on standard input have no rate of their own: give --input-rate, such as 44100")
        }
        Some(_) if !has_stdin => bail!("--input-rate is for samples on standard input (-): files state their own rate"),
        _ => {}
    }
    if has_stdin && matches!(reading.window, WindowPolicy::Middle(_)) {
        bail!("the middle of a stream is not known before its end: give --window whole or --window sliding:30s/30s");
    }
    Ok(())
}

fn open_model(path: &Path, dtype: ComputeDtype, kind: DeviceKind) -> anyhow::Result<(Model, ModelFile)> {
    let file = ConvertedFile::open(path)?;
    let license = file.metadata().license.clone();
    let (model, sha256) = rayon::join(
        || kind.open().and_then(|device| Model::from_file(&file, dtype, &device)),
        || sha256(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display())),
    );
    Ok((model?, ModelFile { sha256: sha256?, license }))
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn embed_inputs(
    args: &Args,
    inputs: &[Input],
    embedder: &Embedder,
    reading: &Reading,
    journal: &mut Journal,
) -> Result<Summary, EmbedError> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = args.jobs.map_or(processors.min(4), usize::from);
    let jobs = NonZero::new(jobs).unwrap_or(NonZero::<usize>::MIN);
    let resumed = inputs.iter().filter(|input| journal.has(input)).count();
    let mut progress = Progress::new(inputs.len(), resumed, args.quiet || !std::io::stderr().is_terminal());
    EMBEDDING.store(true, Ordering::Relaxed);
    let summary = embed(inputs, embedder, reading, jobs, journal, &STOP, |event| match event {
        Event::Window { seconds } => progress.window(seconds),
        Event::Done { input, notes } => {
            progress.file();
            if !args.quiet {
                notes.iter().for_each(|note| progress.say(&format!("{}: {note}", input.path.display())));
            }
        }
        Event::Failed { input, error } => {
            progress.file();
            progress.say(&format!("{}: {error}", input.path.display()));
            if args.strict {
                STOP.store(true, Ordering::Relaxed);
            }
        }
    });
    EMBEDDING.store(false, Ordering::Relaxed);
    progress.finish();
    summary
}

/// Writes the output, unless the run was stopped, and says what was done.
fn finish(
    args: &Args,
    settings: &Provenance,
    inputs: &[Input],
    mut journal: Journal,
    report: &Report,
    summary: Summary,
) -> anyhow::Result<ExitCode> {
    let kept = inputs.iter().filter(|input| journal.has(input)).count();
    if summary.stopped {
        let what = if args.strict && summary.failed > 0 { "stopped" } else { "interrupted" };
        let journal_path = Journal::path_for(&args.output);
        if kept == 0 {
            journal.remove()?;
            say(&format!("{what}: nothing is written"));
        } else {
            say(&format!(
                "{what}: {kept} of {} files are kept in {}; the same command goes on from there",
                inputs.len(),
                journal_path.display()
            ));
        }
        return Ok(ExitCode::from(if what == "stopped" { 2 } else { 130 }));
    }
    let started = Instant::now();
    match output::write(&args.output, settings, inputs, &mut journal) {
        Ok(()) => {}
        Err(EmbedError::NothingEmbedded) => {
            journal.remove()?;
            return Err(EmbedError::NothingEmbedded.into());
        }
        Err(error) => return Err(error.into()),
    }
    journal.remove()?;
    let layers: Vec<String> = settings.hidden_states.iter().map(ToString::to_string).collect();
    let what = match settings.hidden_states.as_slice() {
        [0] => "hidden state 0, which enters the first layer".to_string(),
        [layer] => format!("hidden state {layer}, the output of layer {layer}"),
        _ => format!("hidden states {} (hidden state i is the output of layer i)", layers.join(",")),
    };
    report.note(&format!(
        "{}: {} of {} files, {what}, {} values each; written in {:.2} s",
        args.output.display(),
        summary.done + summary.resumed,
        inputs.len(),
        settings.dim,
        started.elapsed().as_secs_f64()
    ));
    if summary.failed > 0 {
        say(&format!("{} of {} files were left out", summary.failed, inputs.len()));
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

struct Report {
    quiet: bool,
}

impl Report {
    fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

/// Prints a line for people. Standard output stays free for programs.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// File names may hold anything, and a terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}
