//! `mert-tokens train`: frames of music to the centres of a vocabulary.

mod args;
mod progress;
mod report;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{anyhow, bail, ensure};
use mert_cli::embedding::interrupt::{STOP, while_embedding, while_writing};
use mert_cli::embedding::{file_line, report_left_out};
use mert_cli::terminal::{Exit, say};
use mert_embed::EmbedConfig;
use mert_embed::failures::Failure;
use mert_embed::inputs::Input;
use mert_fs::{MappedFile, sha256_file};
use mert_table::{escape, printable_path};
use mert_tokens::frames::Framing;
use mert_tokens::kmeans::{Centres, Frames, Lloyd, MiniBatch};
use mert_tokens::train::{
    Algorithm, CollectEvent, CollectionPlan, FeatureFile, KMeans, Part, Sampling, Share, Store, TrainEvent, Trained,
    collect_frames, copies, held_out, judge, train_centres,
};
use mert_tokens::vocabulary::{Normalize, OpenedVocabulary, Record, Training, Vocabulary, write_npy};
use mert_tokens::{TokensError, TrainConfig};

pub(crate) use self::args::TrainArgs;
use self::progress::{Progress, bar};
use self::report::{Judged, TrainReport};
use self::settings::Settings;
use crate::encoder::TokenModel;
use crate::failure::failure;
use crate::file_kind::{FileKind, read_as};
use crate::inputs::recordings;

/// Frames for each centre below which the centres follow single frames, by faiss's rule.
const FEW_FRAMES: usize = 39;

/// Runs the subcommand.
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Exit> {
    let config = args.config.as_deref().map(TrainConfig::read).transpose()?;
    for note in config.iter().flat_map(|config| &config.notes).filter(|_| !args.run.quiet()) {
        say(note);
    }
    let settings = Settings::new(args, config.as_ref())?;
    let is_npy = match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => false,
        Some("npy") => true,
        _ => bail!("{}: name the output .safetensors, or .npy for the centres alone", printable_path(&args.output)),
    };
    ensure!(args.force || !args.output.exists(), mert_fs::FsError::OutputExists { path: args.output.clone() });
    let start = args.start.as_deref().map(|path| start_centres(path, settings.k)).transpose()?;
    let training = Run { args, settings: &settings, is_npy, start };
    match args.features {
        true => training.on_features(),
        false => training.on_music(config.as_ref()),
    }
}

/// Centres to start from.
fn start_centres(path: &Path, k: usize) -> anyhow::Result<Centres> {
    let vocabulary = read_as(path, FileKind::Vocabulary, OpenedVocabulary::open(path))?.vocabulary;
    ensure!(
        vocabulary.k() == k,
        "{} has {} centres: give --k {} or other centres to start from",
        printable_path(path),
        vocabulary.k(),
        vocabulary.k()
    );
    Centres::new(vocabulary.centroids().to_vec(), vocabulary.dim()).ok_or_else(|| anyhow!("no centres"))
}

/// A training with its options.
struct Run<'a> {
    args: &'a TrainArgs,
    settings: &'a Settings,
    is_npy: bool,
    start: Option<Centres>,
}

impl Run<'_> {
    /// Trains on files of features.
    fn on_features(self) -> anyhow::Result<Exit> {
        let Run { args, settings, .. } = self;
        let originals = copies(&args.arguments);
        let mut paths = Vec::with_capacity(args.arguments.len());
        for (path, original) in args.arguments.iter().zip(originals) {
            match original {
                Some(original) => say_copy(path, &args.arguments[original], args.run.quiet()),
                None => paths.push(path),
            }
        }
        let files: Vec<FeatureFile> = paths.iter().map(|path| FeatureFile::open(path)).collect::<Result<_, _>>()?;
        let [first, others @ ..] = &files[..] else { bail!("no features: give .npy files") };
        for (file, path) in others.iter().zip(&paths[1..]) {
            ensure!(
                file.dim() == first.dim(),
                "{}: frames of {} values, and those of {} have {}",
                printable_path(path),
                file.dim(),
                printable_path(paths[0]),
                first.dim()
            );
        }
        let digests: Vec<String> = paths.iter().map(|path| sha256_file(path)).collect::<Result<_, _>>()?;
        let lines = format!(
            "features {}\nnormalize {}\nheld out {} by seed {}\n",
            digests.join(" "),
            settings.normalize,
            args.held_out,
            settings.seed
        );
        let kmeans = settings.lines(args.start.as_deref());
        let mut store = Store::open(&args.output, first.dim(), &lines, &kmeans, args.restart)?;
        let held = held_out(files.len(), args.held_out, settings.seed);
        let (mut mapped, mut held_mapped) = (None, None);
        let frames = match (others, settings.normalize, first.as_frames()) {
            // One file of float32 is used where it lies.
            ([], Normalize::None, Some(frames)) => {
                first.check_finite()?;
                frames
            }
            _ => {
                let prepare = |values: &mut [f32]| settings.normalize.apply(values, first.dim());
                for (index, file) in files.iter().enumerate().skip(store.files().len()) {
                    let part = if held[index] { Part::HeldOut } else { Part::Training };
                    file.store(&mut store, index, part, &prepare)?;
                }
                (mapped, held_mapped) = (store.mapped(Part::Training)?, store.mapped(Part::HeldOut)?);
                mapped_frames(mapped.as_ref(), first.dim(), settings.k)?
            }
        };
        let held_frames =
            held_mapped.as_ref().and_then(|file| Frames::mapped(file, 0..file.bytes().len(), first.dim()));
        if held_frames.is_none() && !args.run.quiet() {
            say("no file of features is held out, so that nothing shows whether the tokens fit other music");
        }
        // Files of features are not divided: a run ends where one of them does.
        let ends = if mapped.is_some() { store.ends(Part::Training) } else { vec![first.frames()] };
        let held_out = held_frames.map(|frames| (frames, store.ends(Part::HeldOut)));
        let training = digests.into_iter().zip(&held).filter(|&(_, &held)| !held).map(|(digest, _)| digest).collect();
        let inputs = TrainingInputs { frames, ends, held_out, record: None, digests: training };
        self.finish(store, &inputs, &[], files.len())
    }

    /// Trains on music.
    fn on_music(self, config: Option<&TrainConfig>) -> anyhow::Result<Exit> {
        let Run { args, settings, .. } = self;
        let (model, paths) = model_and_inputs(args, config.map(|config| &config.extraction))?;
        let quiet = args.run.quiet();
        let inputs = recordings(&paths, args.run.files.list(), quiet)?;
        let options = args.run.read.options()?;
        let model = TokenModel::open(&model, &args.run.model)?;
        let (framing, notes) = Framing::new(&model.grid(), args.window, args.hop, args.keep)?;
        notes.iter().filter(|_| !quiet).for_each(|note| say(note));
        let hidden_state = model.hidden_state(settings.layer)?;
        let (record, dim) = (model.record(hidden_state, framing), model.dim());
        let encoder = model.encoder(hidden_state, framing)?;

        let paths: Vec<PathBuf> = inputs.iter().map(|input| input.path.clone()).collect();
        let sampling = Sampling { frames: settings.frames, held_out: args.held_out, seed: settings.seed };
        let plan = CollectionPlan::new(&paths, encoder.grid(), framing, &sampling, options);
        for &(copy, original) in &plan.copies {
            say_copy(&paths[copy], &paths[original], quiet);
        }
        let mut failures = Vec::new();
        let fail = |input: &Input, error: TokensError, failures: &mut Vec<Failure>| {
            let failure = failure(input, error);
            say(&file_line(input, &failure.message));
            failures.push(failure);
        };
        let CollectionPlan { failed, .. } = &plan;
        ensure!(!plan.files.is_empty() || !failed.is_empty(), "no inputs");
        let mut lines = format!("model {}\nhidden state {hidden_state}\n{framing:?}\n", record.model_sha256);
        lines += &format!("normalize {}\nseed {}\n", settings.normalize, settings.seed);
        lines += &format!("{options:?}\narithmetic {}\n", record.arithmetic);
        // The windows that are taken, rather than the options that chose them.
        for (index, file) in &plan.files {
            let part = if file.part == Part::HeldOut { "held out" } else { "training" };
            let Share { taken, windows } = file.share;
            lines += &format!("{} ({taken} of {windows} windows, {part})\n", identity(&paths[*index]));
        }
        let kmeans = settings.lines(args.start.as_deref());
        let mut store = Store::open(&args.output, dim, &lines, &kmeans, args.restart)?;

        let done = store.files().len();
        let bar = bar(Some(plan.windows()), "{bar:30} {pos}/{len} windows of {msg}, {eta} left", quiet);
        bar.set_message(format!("{} files", plan.files.len()));
        if done > 0 && !quiet {
            say(&format!("{done} of {} files were encoded by an interrupted training", plan.files.len()));
        }
        let prepare = |values: &mut [f32]| settings.normalize.apply(values, dim);
        let mut on_event = |index: usize, _: &_, event: CollectEvent| {
            let input = &inputs[index];
            match event {
                CollectEvent::Window => bar.inc(1),
                CollectEvent::Done(notes) if !quiet => {
                    bar.suspend(|| notes.iter().for_each(|note| say(&file_line(input, note))));
                }
                CollectEvent::Done(_) => {}
                CollectEvent::Failed(error) => bar.suspend(|| fail(input, error, &mut failures)),
            }
        };
        let jobs = args.run.jobs();
        while_embedding(|| {
            collect_frames(&plan, &encoder, options, jobs, settings.seed, &mut store, &prepare, &STOP, &mut on_event)
        })?;
        bar.finish_and_clear();
        if STOP.load(Ordering::Relaxed) {
            return Ok(interrupted());
        }
        for (index, error) in plan.failed {
            fail(&inputs[index], error.into(), &mut failures);
        }
        args.run.files.write_report(&failures)?;
        if store.frames(Part::Training) == 0 {
            store.remove()?;
            report_left_out(&failures, inputs.len());
            bail!("no file gave a frame to train on: nothing is written");
        }
        let silent: u64 = store.files().iter().map(|file| file.silent).sum();
        if silent > 0 && !quiet {
            say(&format!("{silent} silent windows are left out"));
        }
        let of_part = |part| store.files().iter().filter(move |file| file.part == part && file.frames > 0);
        let used: Vec<PathBuf> = of_part(Part::Training).map(|file| paths[file.index].clone()).collect();
        let digests: Vec<String> = used.iter().map(|path| sha256_file(path)).collect::<Result<_, _>>()?;
        let (training, held_out) = (store.mapped(Part::Training)?, store.mapped(Part::HeldOut)?);
        let frames = mapped_frames(training.as_ref(), dim, settings.k)?;
        let held_frames = held_out.as_ref().and_then(|file| Frames::mapped(file, 0..file.bytes().len(), dim));
        if held_frames.is_none() && !quiet {
            say("no file is held out, so that nothing shows whether the tokens fit other music");
        }
        let (ends, held_ends) = (store.ends(Part::Training), store.ends(Part::HeldOut));
        let held_out = held_frames.map(|frames| (frames, held_ends));
        let training = TrainingInputs { frames, ends, held_out, record: Some(record), digests };
        self.finish(store, &training, &failures, inputs.len())
    }

    /// Finds the centres, judges them and writes the vocabulary.
    fn finish(
        self,
        store: Store,
        inputs: &TrainingInputs<'_>,
        failures: &[Failure],
        files: usize,
    ) -> anyhow::Result<Exit> {
        let Run { args, settings, is_npy, start } = self;
        let (k, frames, quiet) = (settings.k, inputs.frames, args.run.quiet());
        if frames.len() < FEW_FRAMES * k && !quiet {
            say(&format!(
                "{} frames are few for {k} tokens: below {} the centres follow single frames; give more music or a smaller --k",
                frames.len(),
                FEW_FRAMES * k
            ));
        }
        if let Some(start) = &start {
            let (found, expected) = (start.dim(), frames.dim());
            ensure!(found == expected, "the centres to start from have {found} values, and frames have {expected}");
        }
        let resume = match store.checkpoint(k).filter(|_| matches!(settings.algorithm, Algorithm::Lloyd(_))) {
            Some(checkpoint) => {
                if !quiet {
                    say(&format!("continuing after pass {}", checkpoint.pass));
                }
                Centres::new(checkpoint.centres, frames.dim()).map(|centres| (checkpoint.pass, centres))
            }
            None => start.map(|centres| (0, centres)),
        };
        let began = Instant::now();
        // The start and the end of the passes, without the choice of the start and the figures of the result.
        let passes = Mutex::new((began, began));
        let options = KMeans { k, seed: settings.seed, algorithm: settings.algorithm };
        let progress = Progress::new(frames.len(), k, quiet);
        let trained = while_embedding(|| {
            train_centres(frames, &options, resume, &inputs.ends, &|event| {
                if let (TrainEvent::Pass(pass, _), Ok(mut times)) = (&event, passes.lock()) {
                    times.1 = Instant::now();
                    if pass.is_none() {
                        times.0 = times.1;
                    }
                }
                if let TrainEvent::Pass(pass, centres) = &event
                    && let Err(error) = store.keep(pass.map_or(0, |pass| pass.number), centres.values())
                {
                    // Without it an interrupted training only takes longer.
                    say(&error.to_string());
                }
                progress.event(&event);
                !STOP.load(Ordering::Relaxed)
            })
        })?;
        let Some(trained) = trained else { return Ok(interrupted()) };
        let held_out =
            inputs.held_out.as_ref().map(|(frames, ends)| judge(*frames, &trained.centres, ends, &|_| true).1);
        progress.finish();
        let vocabulary = vocabulary(&trained, settings, inputs, held_out.as_ref())?;
        let report = TrainReport {
            output: &args.output,
            vocabulary: &vocabulary,
            trained: &trained,
            held_out: held_out.map(|quality| Judged { quality }),
            seconds: began.elapsed().as_secs_f64(),
            pass_seconds: passes.lock().map_or(0.0, |times| times.1.duration_since(times.0).as_secs_f64()),
        };
        while_writing(|| match is_npy {
            true => write_npy(&vocabulary, &args.output, args.force),
            false => vocabulary.write(&args.output, args.force),
        })?;
        store.remove()?;
        report.print(args.json, quiet)?;
        Ok(report_left_out(failures, files))
    }
}

/// Says that a file is left out because it is a copy.
fn say_copy(copy: &Path, original: &Path, quiet: bool) {
    if !quiet {
        say(&format!("{} has the bytes of {}: left out", printable_path(copy), printable_path(original)));
    }
}

/// What centres are found from and judged with.
struct TrainingInputs<'a> {
    frames: Frames<'a>,
    ends: Vec<usize>,
    held_out: Option<(Frames<'a>, Vec<usize>)>,
    record: Option<Record>,
    digests: Vec<String>,
}

/// The vocabulary of trained centres.
fn vocabulary(
    trained: &Trained,
    settings: &Settings,
    inputs: &TrainingInputs<'_>,
    held_out: Option<&mert_tokens::kmeans::Quality>,
) -> Result<Vocabulary, TokensError> {
    let mut vocabulary = Vocabulary::new(trained.centres.values().to_vec(), trained.centres.dim())?;
    vocabulary.counts = Some(trained.counts.clone());
    vocabulary.normalize = settings.normalize;
    if let Some(record) = &inputs.record {
        let training = Training {
            algorithm: match settings.algorithm {
                Algorithm::Lloyd(Lloyd { passes, tolerance }) => {
                    format!("lloyd, passes {passes}, tolerance {tolerance}")
                }
                Algorithm::MiniBatch(MiniBatch { batch, passes, patience, reassignment }) => {
                    format!("mini-batch {batch}, passes {passes}, patience {patience}, reassignment {reassignment}")
                }
            },
            seed: settings.seed,
            passes: trained.passes as u64,
            inertia: trained.training.inertia,
            held_out_inertia: held_out.map(|quality| quality.inertia),
            files_sha256: Training::digest(inputs.digests.clone()),
            files: inputs.digests.len() as u64,
            frames: inputs.frames.len() as u64,
        };
        vocabulary.record = Some(Record { training: Some(training), ..record.clone() });
    }
    Ok(vocabulary)
}

/// The frames of a mapped file, or the error that there are too few.
fn mapped_frames(file: Option<&MappedFile>, dim: usize, k: usize) -> Result<Frames<'_>, TokensError> {
    let frames = file.and_then(|file| Frames::mapped(file, 0..file.bytes().len(), dim));
    frames.ok_or(TokensError::TooFewFrames { frames: 0, k })
}

/// The model and the inputs among the arguments and in the configuration.
fn model_and_inputs(args: &TrainArgs, config: Option<&EmbedConfig>) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let encoders = config.map(EmbedConfig::encoders).unwrap_or_default();
    ensure!(
        encoders.len() <= 1,
        "the configuration has several encoders, and a vocabulary is of one: leave out `encoder`"
    );
    let named = encoders.first().and_then(|section| section.model_name.as_ref()).map(PathBuf::from);
    match (named, args.arguments.split_first()) {
        (Some(model), Some((first, _))) if is_model(first) => bail!(
            "the configuration names the model {}, and {} is a model, too: leave one of them out",
            printable_path(&model),
            printable_path(first)
        ),
        (Some(model), _) => Ok((model, args.arguments.clone())),
        (None, Some((model, inputs))) => Ok((model.clone(), inputs.to_vec())),
        (None, None) => bail!("no model: give MODEL before the inputs, or model_name in the configuration"),
    }
}

/// Whether an input is a converted model rather than music.
fn is_model(path: &Path) -> bool {
    FileKind::of(path) == Some(FileKind::Model) || path.join("model.safetensors").is_file()
}

/// A file's name, size and time of change, by which an interrupted training knows it again.
fn identity(path: &Path) -> String {
    let metadata = std::fs::metadata(path).ok();
    let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
    let changed =
        changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |time| time.as_nanos());
    format!("{}, {} bytes of {changed}", escape(path), metadata.map_or(0, |metadata| metadata.len()))
}

fn interrupted() -> Exit {
    say("interrupted: the same command continues from the files and passes that are finished");
    Exit::Interrupted
}
