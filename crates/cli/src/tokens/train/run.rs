//! From the frames of a training to its vocabulary: the passes, the figures and the file.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::bail;
use mert_cli::embedding::interrupt::{STOP, while_embedding, while_writing};
use mert_cli::embedding::report_left_out;
use mert_cli::terminal::{Exit, say};
use mert_embed::failures::Failure;
use mert_fs::MappedFile;
use mert_table::printable_path;
use mert_tokens::TokensError;
use mert_tokens::kmeans::{Centres, Frames, Lloyd, MiniBatch};
use mert_tokens::train::{Algorithm, KMeans, Store, TrainEvent, Trained, judge, train_centres};
use mert_tokens::vocabulary::{Record, Training, Vocabulary, write_npy};

use super::args::TrainArgs;
use super::progress::Progress;
use super::report::{Judged, TrainReport};
use super::settings::Settings;

/// Frames for each centre below which the centres follow single frames, by faiss's rule.
const FEW_FRAMES: usize = 39;

/// A training with its options.
pub(super) struct Run<'a> {
    pub(super) args: &'a TrainArgs,
    pub(super) settings: &'a Settings,
    /// True if the centres alone are written.
    pub(super) is_npy: bool,
    pub(super) start: Option<Centres>,
}

impl Run<'_> {
    /// Refuses centres to start from of another width than the frames.
    pub(super) fn check_start(&self, dim: usize) -> anyhow::Result<()> {
        match &self.start {
            Some(start) if start.dim() != dim => {
                bail!("the centres to start from have {} values, and frames have {dim}", start.dim())
            }
            _ => Ok(()),
        }
    }

    /// Finds the centres, judges them and writes the vocabulary.
    pub(super) fn finish(
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
            is_batches: matches!(settings.algorithm, Algorithm::MiniBatch(_)),
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
pub(super) fn say_copy(copy: &Path, original: &Path, quiet: bool) {
    if !quiet {
        say(&format!("{} has the bytes of {}: left out", printable_path(copy), printable_path(original)));
    }
}

/// The frames that centres are found from and judged with.
pub(super) struct TrainingInputs<'a> {
    pub(super) frames: Frames<'a>,
    /// The frame after the last of each file.
    pub(super) ends: Vec<usize>,
    pub(super) held_out: Option<(Frames<'a>, Vec<usize>)>,
    pub(super) record: Option<Record>,
    /// The SHA-256 of each training file.
    pub(super) digests: Vec<String>,
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
pub(super) fn mapped_frames(file: Option<&MappedFile>, dim: usize, k: usize) -> Result<Frames<'_>, TokensError> {
    let frames = file.and_then(|file| Frames::mapped(file, 0..file.bytes().len(), dim));
    frames.ok_or(TokensError::TooFewFrames { frames: 0, k })
}

/// Says that a training continues, and its exit status.
pub(super) fn interrupted() -> Exit {
    say("interrupted: the same command continues from the files and passes that are finished");
    Exit::Interrupted
}
