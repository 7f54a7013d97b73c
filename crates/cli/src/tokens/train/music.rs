//! A training on music: the frames of its files, which an interrupted training keeps.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{bail, ensure};
use mert_cli::embedding::interrupt::{STOP, while_embedding};
use mert_cli::embedding::{file_line, report_left_out};
use mert_cli::terminal::{Exit, say};
use mert_embed::EmbedConfig;
use mert_embed::failures::Failure;
use mert_embed::inputs::Input;
use mert_fs::sha256_file;
use mert_table::{escape, printable_path};
use mert_tokens::frames::Framing;
use mert_tokens::kmeans::Frames;
use mert_tokens::train::{CollectEvent, CollectionPlan, INPUT, Part, Sampling, Share, Store, collect_frames};
use mert_tokens::{TokensError, TrainConfig};

use super::args::TrainArgs;
use super::progress::bar;
use super::run::{Run, TrainingInputs, interrupted, mapped_frames, say_copy};
use crate::encoder::TokenModel;
use crate::failure::failure;
use crate::file_kind::FileKind;
use crate::inputs::recordings;

impl Run<'_> {
    /// Trains on music.
    pub(super) fn on_music(self, config: Option<&TrainConfig>) -> anyhow::Result<Exit> {
        let Run { args, settings, .. } = &self;
        let (model, paths) = model_and_inputs(args, config.map(|config| &config.extraction))?;
        let quiet = args.run.quiet();
        let inputs = recordings(&paths, args.run.files.list(), quiet)?;
        let options = args.run.read.options()?;
        let model = TokenModel::open(&model, &args.run.model)?;
        let (framing, notes) = Framing::new(&model.grid(), args.window, args.hop, args.keep)?;
        notes.iter().filter(|_| !quiet).for_each(|note| say(note));
        let hidden_state = model.hidden_state(settings.layer)?;
        let (record, dim) = (model.record(hidden_state, framing), model.dim());
        self.check_start(dim)?;
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
            lines += &format!("{INPUT}{} ({taken} of {windows} windows, {part})\n", identity(&paths[*index]));
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

/// True for a converted model, rather than music.
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
