//! The `mert-embed` command: checks, the run, and its messages.

use std::collections::HashSet;
use std::io::{IsTerminal, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use mert_arch::{LayerSelection, Metadata};
use mert_audio::{Damage, WindowPolicy};
use mert_cli::terminal::{Exit, say};
use mert_embed::failures::{self, Failure, count_by_reason};
use mert_embed::inputs::{self, Input};
use mert_embed::{
    EmbedConfig, EmbedError, Embedder, Event, Journal, ModelFile, Provenance, Reading, Summary, Update, output,
    run as embed,
};
use mert_runtime::{ConvertedFile, DeviceKind, Dtype, Model};
use sha2::{Digest, Sha256};

use crate::args::Args;
use crate::dry_run;
use crate::progress::Progress;

/// Notes on standard error, unless --quiet.
struct Notes {
    quiet: bool,
}

impl Notes {
    fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

/// Set by a signal and by --strict.
static STOP: AtomicBool = AtomicBool::new(false);

/// The output is being written, which is short and must not leave a temporary file.
static WRITING: AtomicBool = AtomicBool::new(false);

/// Whether files are being embedded: the run may then end at any moment, because finished files are in the journal.
static EMBEDDING: AtomicBool = AtomicBool::new(false);

/// Ends the run after the current window. A second signal ends it at once, as does a window that takes long, or
/// standard input without data.
pub(crate) fn interrupt() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let (embedding, writing) = (EMBEDDING.load(Ordering::Relaxed), WRITING.load(Ordering::Relaxed));
    if !embedding && !writing {
        std::process::exit(Exit::Interrupted.code().into());
    }
    if !STOP.swap(true, Ordering::Relaxed) {
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            if EMBEDDING.load(Ordering::Relaxed) {
                say("interrupted: the same command continues from the files that are finished");
                std::process::exit(Exit::Interrupted.code().into());
            }
        });
        return;
    }
    std::process::exit(Exit::Interrupted.code().into());
}

/// Runs the command and returns its exit status.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.as_deref().map(EmbedConfig::read).transpose()?.unwrap_or_default();
    let config_path = args.config.as_deref().unwrap_or(Path::new(""));
    let (model_path, paths) = model_and_inputs(args, &config)?;
    let reading = Reading {
        window: args.window,
        tail: args.tail,
        damage: if args.damaged == "keep" { Damage::Keep } else { Damage::Refuse },
        ffmpeg: args.ffmpeg.then(mert_audio::ffmpeg_version).transpose()?,
        input_rate: args.input_rate,
    };
    let inputs::Inputs { files: mut inputs, notes: input_notes } = inputs::collect(&paths, args.list.as_deref())?;
    let read = inputs.iter().map(|input| &input.path).chain([&model_path]).chain(&args.list).chain(&args.config);
    let written = check_output(args)?;
    refuse_overwriting(&written, read)?;
    refuse_twice(args, &written)?;
    check_stdin(&inputs, &reading)?;

    let kind = match (args.device, &config.device) {
        (Some(kind), _) => kind,
        (None, Some(name)) => name.parse().map_err(|reason| EmbedError::Config {
            path: config_path.to_path_buf(),
            reason: format!("device: {reason}"),
        })?,
        (None, None) => DeviceKind::Cpu,
    };
    let (model, file, preprocessor_note) = open_model(&model_path, args.dtype, kind)?;
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
    let notes = Notes { quiet: args.quiet };
    preprocessor_note.iter().for_each(|note| notes.note(note));
    input_notes.iter().for_each(|note| notes.note(note));
    if !config.unknown.is_empty() {
        let keys: Vec<&str> = config.unknown.keys().map(String::as_str).collect();
        notes.note(&format!("{}: not used: {}", config_path.display(), keys.join(", ")));
    }

    let output = args.output.as_deref();
    if args.dry_run {
        let update = match output.filter(|output| args.update && output.exists()) {
            Some(output) => Update::plan(output, &settings, &mut inputs)?,
            None => Update::default(),
        };
        let unchanged: HashSet<&Input> = update.unchanged.iter().collect();
        let (status, failures) =
            dry_run::list(&inputs, embedder.sample_rate(), &reading, |input| unchanged.contains(input));
        write_report(args, &failures)?;
        return Ok(status);
    }
    let output = output.ok_or_else(|| anyhow!("name the output: -o FILE"))?;
    // The journal's lock comes first: what an update finds in the output must not change before it is written.
    let mut journal = Journal::open(output, &settings, args.restart)?;
    let update = match args.update && output.exists() {
        true => Some(Update::plan(output, &settings, &mut inputs)),
        false => None,
    };
    let update = match update.transpose() {
        Ok(update) => update,
        Err(error) => {
            journal.remove_if_empty()?;
            return Err(error.into());
        }
    };
    let run = Run { args, output, settings: &settings, embedder: &embedder, reading: &reading, notes: &notes };
    if let Some(update) = &update {
        run.tell_update(update);
        if update.is_up_to_date() && journal.is_empty() {
            journal.remove()?;
            let failures = missing(update);
            write_report(args, &failures)?;
            return Ok(left_out(&failures, inputs.len()));
        }
    }
    let kept: HashSet<&Input> =
        update.iter().flat_map(|update| update.unchanged.iter().chain(&update.missing)).collect();
    let todo: Vec<Input> = inputs.iter().filter(|input| !kept.contains(input)).cloned().collect();
    let (summary, mut failures) = run.embed(&todo, &mut journal)?;
    failures.extend(update.iter().flat_map(missing));
    let result = run.finish(inputs, update, journal, summary, &failures);
    write_report(args, &failures)?;
    result
}

/// The failures of files that no longer exist and whose rows are kept.
fn missing(update: &Update) -> Vec<Failure> {
    update.missing.iter().map(|input| Failure::new(input, &EmbedError::Missing)).collect()
}

/// Prints how many files were left out and why.
fn left_out(failures: &[Failure], files: usize) -> Exit {
    if failures.is_empty() {
        return Exit::Success;
    }
    say(&format!("{} of {files} files were left out: {}", failures.len(), count_by_reason(failures)));
    Exit::Failure
}

/// The path of the model and the inputs.
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
            "{name} is not a file here. If it is a model of the hub, convert it first, `mert-convert {name} \
             model.safetensors`, and give --model model.safetensors"
        );
    }
    Ok((model, inputs))
}

/// The files that will be written. Each is new or may be replaced.
fn check_output(args: &Args) -> Result<Vec<PathBuf>, EmbedError> {
    let mut written = Vec::new();
    if let Some(output) = args.output.as_ref() {
        written.push(output.clone());
        if output::Format::of(output)? == output::Format::Npy {
            written.push(output::rows_file(output));
        }
    }
    let replaces = args.force || args.update || args.dry_run;
    match written.iter().find(|path| path.is_dir() || path.exists() && !replaces) {
        Some(path) if path.is_dir() => {
            return Err(EmbedError::Write { path: path.clone(), source: std::io::ErrorKind::IsADirectory.into() });
        }
        Some(path) => return Err(EmbedError::OutputExists { path: path.clone() }),
        None => {}
    }
    if let Some(report) = &args.report {
        // A repeated run replaces its own report.
        if report.exists() && !args.force && !failures::is_report(report) {
            return Err(EmbedError::ReportExists { path: report.clone() });
        }
        let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(EmbedError::Write { path: report.clone(), source: std::io::ErrorKind::NotFound.into() });
        }
        written.push(report.clone());
    }
    Ok(written)
}

/// Refuses an output that would replace an input: it is a slip on the command line.
fn refuse_overwriting<'a>(written: &[PathBuf], mut read: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<()> {
    let resolved: Vec<PathBuf> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
    match read.find(|path| path.canonicalize().is_ok_and(|path| resolved.contains(&path))) {
        Some(path) => bail!("{} is an input: give the output another name", path.display()),
        None => Ok(()),
    }
}

/// The output, its rows, its journal and the report must be different files.
fn refuse_twice(args: &Args, written: &[PathBuf]) -> anyhow::Result<()> {
    let place = |path: &PathBuf| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).join(path.file_name().unwrap_or_default())
    };
    let mut seen = HashSet::new();
    let journal = args.output.as_deref().map(Journal::path_for);
    match written.iter().chain(&journal).find(|path| !seen.insert(place(path))) {
        Some(path) => {
            bail!("{} would be written twice: give the output and the report different names", path.display())
        }
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

/// The model, its provenance, and the assumptions about its audio input that its file does not record.
fn open_model(path: &Path, dtype: Dtype, kind: DeviceKind) -> anyhow::Result<(Model, ModelFile, Option<String>)> {
    let file = ConvertedFile::open(path)?;
    let Metadata { license, preprocessor, preprocessor_origin, .. } = file.metadata().clone();
    let note = preprocessor_origin.is_none().then(|| {
        format!(
            "{} does not record what audio the model takes: {} Hz and do_normalize {} are assumed. Convert the \
             checkpoint again to record it",
            path.display(),
            preprocessor.sampling_rate,
            preprocessor.do_normalize
        )
    });
    let (model, sha256) = rayon::join(
        || kind.open().and_then(|device| Model::from_file(&file, dtype, &device)),
        || sha256(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display())),
    );
    Ok((model?, ModelFile { sha256: sha256?, license }, note))
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

fn write_report(args: &Args, failures: &[Failure]) -> Result<(), EmbedError> {
    args.report.as_ref().map_or(Ok(()), |path| failures::write_report(path, failures))
}

/// A run with its settings.
struct Run<'a> {
    args: &'a Args,
    output: &'a Path,
    settings: &'a Provenance,
    embedder: &'a Embedder,
    reading: &'a Reading,
    notes: &'a Notes,
}

impl Run<'_> {
    fn tell_update(&self, update: &Update) {
        let Update { unchanged, changed, new, missing, others } = update;
        let mut text =
            format!("{}: {new} new, {changed} changed, {} unchanged", self.output.display(), unchanged.len());
        if !missing.is_empty() {
            text += &format!(", {} missing, whose rows stay", missing.len());
        }
        if !others.is_empty() {
            let gone = others.iter().filter(|input| !input.path.exists()).count();
            text += &format!("; the rows of {} other files stay ({gone} of these files no longer exist)", others.len());
        }
        if update.is_up_to_date() {
            text += "; it is up to date";
        }
        self.notes.note(&text);
    }

    fn embed(&self, inputs: &[Input], journal: &mut Journal) -> Result<(Summary, Vec<Failure>), EmbedError> {
        let Run { args, embedder, reading, .. } = self;
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = args.jobs.map_or(processors.min(4), usize::from);
        let jobs = NonZero::new(jobs).unwrap_or(NonZero::<usize>::MIN);
        let resumed = inputs.iter().filter(|input| journal.has(input)).count();
        let mut progress = Progress::new(inputs.len(), resumed, args.quiet || !std::io::stderr().is_terminal());
        let mut failures = Vec::new();
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
                failures.push(Failure::new(input, &error));
                if args.strict {
                    STOP.store(true, Ordering::Relaxed);
                }
            }
        });
        EMBEDDING.store(false, Ordering::Relaxed);
        progress.finish();
        Ok((summary?, failures))
    }

    /// Writes the output, unless the run was stopped, and prints a summary.
    fn finish(
        &self,
        mut inputs: Vec<Input>,
        update: Option<Update>,
        mut journal: Journal,
        summary: Summary,
        failures: &[Failure],
    ) -> anyhow::Result<Exit> {
        let Run { args, settings, .. } = self;
        let files = inputs.len();
        let kept = inputs.iter().filter(|input| journal.has(input)).count();
        if summary.stopped {
            let what = if args.strict && summary.failed > 0 { "stopped" } else { "interrupted" };
            if kept == 0 {
                journal.remove()?;
                say(&format!("{what}: nothing is written"));
            } else {
                let path = Journal::path_for(self.output);
                let path = path.display();
                say(&format!(
                    "{what}: {kept} of {files} files are kept in {path}; the same command continues from there"
                ));
            }
            return Ok(if what == "stopped" { Exit::Error } else { Exit::Interrupted });
        }
        let unchanged = update.as_ref().map_or(0, |update| update.unchanged.len());
        let started = Instant::now();
        if let Some(update) = update {
            if update.changed == 0 && summary.done + summary.resumed == 0 {
                journal.remove()?;
                self.notes.note(&format!("{}: nothing to add; it is as it was", self.output.display()));
                return Ok(left_out(failures, files));
            }
            update.import(self.output, settings, &mut journal)?;
            inputs.extend(update.others);
        }
        WRITING.store(true, Ordering::Relaxed);
        let written = output::write(self.output, settings, &inputs, &mut journal);
        WRITING.store(false, Ordering::Relaxed);
        match written {
            Ok(()) => {}
            Err(EmbedError::NothingEmbedded) => {
                journal.remove()?;
                left_out(failures, files);
                return Err(EmbedError::NothingEmbedded.into());
            }
            Err(error) => return Err(error.into()),
        }
        journal.remove()?;
        self.notes.note(&format!(
            "{}: {} of {files} files, {}, {} values each; written in {:.2} s",
            self.output.display(),
            unchanged + summary.done + summary.resumed,
            hidden_states(&settings.hidden_states),
            settings.dim,
            started.elapsed().as_secs_f64()
        ));
        Ok(left_out(failures, files))
    }
}

fn hidden_states(layers: &[usize]) -> String {
    match layers {
        [0] => "hidden state 0, which enters the first layer".to_string(),
        [layer] => format!("hidden state {layer}, the output of layer {layer}"),
        _ => {
            let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
            format!("hidden states {} (hidden state i is the output of layer i)", layers.join(","))
        }
    }
}
